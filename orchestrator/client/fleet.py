"""Calls the orchestrator, and keeps a question alive through its restarts."""

from __future__ import annotations

import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Self, TypeVar

import grpc

from orchestrator.client.errors import CallError, call_error
from orchestrator.client.following import Follower, Patience, patiently
from orchestrator.client.interrupts import Answer, Answers, Approve, OnInterrupt, Tool
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    dead_letters_pb2,
    dead_letters_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)

T = TypeVar("T")

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_CALL_TIMEOUT_S = 30.0
PATIENCE_S = 30.0
_SOMEBODY_WAS_FASTER = {"INTERRUPT_NOT_PENDING", "RUN_TERMINAL"}


async def _leave_to_others(run_id: str, interrupt: runs_pb2.Interrupted) -> None:
    """A watcher answers nothing."""


class FleetClient:
    """One channel to the orchestrator. Every method raises `CallError` and nothing else."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str = "") -> None:
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._agents: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(
            channel
        )
        self._sessions: sessions_pb2_grpc.SessionServiceAsyncStub = (
            sessions_pb2_grpc.SessionServiceStub(channel)
        )
        self._runs: runs_pb2_grpc.RunServiceAsyncStub = runs_pb2_grpc.RunServiceStub(channel)
        self._dead_letters: dead_letters_pb2_grpc.DeadLetterServiceAsyncStub = (
            dead_letters_pb2_grpc.DeadLetterServiceStub(channel)
        )
        self._inference: inference_pb2_grpc.InferenceServiceAsyncStub = (
            inference_pb2_grpc.InferenceServiceStub(channel)
        )
        self._usage: usage_pb2_grpc.UsageServiceAsyncStub = usage_pb2_grpc.UsageServiceStub(channel)

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, api_key: str = "") -> AsyncIterator[Self]:
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            yield cls(channel, api_key)

    async def ask(
        self,
        request: runs_pb2.StartRunRequest,
        *,
        tools: Mapping[str, Tool] | None = None,
        approve: Approve | None = None,
        on_interrupt: OnInterrupt | None = None,
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[CallError], None] = lambda _: None,
    ) -> AsyncGenerator[runs_pb2.RunEvent, None]:
        """Yields the run's events, each once and in order, up to `finished`.

        A service that goes away meanwhile is waited for, at most `patience_s` at a time;
        the run is then followed from where it was. A missing `request_id` is made, so
        that the run is started once whatever happens. `on_wait` is told why, once for
        each time it has to be waited for. `tools`, `approve` and `on_interrupt` answer
        the run's interrupts while its events go on: see `Answers`.
        """
        if not request.request_id:
            request.request_id = uuid.uuid4().hex

        def opened(run_id: str, seq: int) -> Any:
            if run_id:
                return self._watch(run_id, seq)
            return self._runs.Ask(request, metadata=self._metadata)

        answers = Answers(tools or {}, approve, on_interrupt)
        follower = Follower(
            opened,
            patience=Patience(patience_s, on_wait),
            answer=partial(self._answer, answers=answers, patience_s=patience_s),
        )
        async with aclosing(follower.events()) as events:
            async for event in events:
                yield event

    async def watch(
        self,
        run_id: str,
        *,
        after_seq: int = 0,
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[CallError], None] = lambda _: None,
    ) -> AsyncGenerator[runs_pb2.RunEvent, None]:
        """Yields a snapshot and every event after `after_seq`, up to `finished`, as `ask`."""
        follower = Follower(
            self._watch, patience=Patience(patience_s, on_wait), answer=_leave_to_others
        )
        async with aclosing(follower.events(run_id, after_seq)) as events:
            async for event in events:
                yield event

    def _watch(self, run_id: str, after_seq: int) -> Any:
        return self._runs.WatchRun(
            runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq), metadata=self._metadata
        )

    async def _answer(
        self, run_id: str, interrupt: runs_pb2.Interrupted, *, answers: Answers, patience_s: float
    ) -> None:
        """Answers an interrupt that still waits: an event may be an old one, seen again."""
        if not answers.covers(interrupt):
            return
        run = await patiently(lambda: self.run(run_id), Patience(patience_s))
        if interrupt.interrupt_id not in {each.interrupt_id for each in run.interrupts}:
            return
        answer = await answers.answer(interrupt)
        if answer is None:
            return
        try:
            await patiently(
                lambda: self.resume(run_id, interrupt.interrupt_id, answer), Patience(patience_s)
            )
        except CallError as error:
            if error.reason not in _SOMEBODY_WAS_FASTER:
                raise

    async def cancel(self, run_id: str) -> runs_pb2.Run:
        """Cancels the run and what it started; safe to repeat."""
        return await self._call(
            self._runs.CancelRun(
                runs_pb2.CancelRunRequest(run_id=run_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def resume(self, run_id: str, interrupt_id: str, answer: Answer) -> runs_pb2.Run:
        """Answers an interrupt, once."""
        request = runs_pb2.ResumeRunRequest(run_id=run_id, interrupt_id=interrupt_id)
        match answer:
            case runs_pb2.Approval():
                request.approval.CopyFrom(answer)
            case runs_pb2.ToolResult():
                request.result.CopyFrom(answer)
            case runs_pb2.Reply():
                request.reply.CopyFrom(answer)
        return await self._call(
            self._runs.ResumeRun(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def run(self, run_id: str) -> runs_pb2.Run:
        return await self._call(
            self._runs.GetRun(
                runs_pb2.GetRunRequest(run_id=run_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def runs(
        self, *, session_id: str = "", page_size: int = 20, page_token: str = ""
    ) -> runs_pb2.ListRunsResponse:
        request = runs_pb2.ListRunsRequest(
            session_id=session_id, page_size=page_size, page_token=page_token
        )
        return await self._call(
            self._runs.ListRuns(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def dead_letters(
        self, *, page_size: int = 20, page_token: str = ""
    ) -> dead_letters_pb2.ListDeadLettersResponse:
        request = dead_letters_pb2.ListDeadLettersRequest(
            page_size=page_size, page_token=page_token
        )
        return await self._call(
            self._dead_letters.ListDeadLetters(
                request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S
            )
        )

    async def dead_letter(self, entry_id: str) -> dead_letters_pb2.DeadLetter:
        return await self._call(
            self._dead_letters.GetDeadLetter(
                dead_letters_pb2.GetDeadLetterRequest(entry_id=entry_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def redrive(self, entry_id: str) -> dead_letters_pb2.RedriveDeadLetterResponse:
        """Starts the entry's run once more and removes the entry."""
        return await self._call(
            self._dead_letters.RedriveDeadLetter(
                dead_letters_pb2.RedriveDeadLetterRequest(entry_id=entry_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def purge(self, entry_ids: Sequence[str] = (), *, everything: bool = False) -> int:
        """Removes the entries, or all there are; returns how many there were."""
        request = dead_letters_pb2.PurgeDeadLettersRequest(entry_ids=entry_ids, all=everything)
        answer = await self._call(
            self._dead_letters.PurgeDeadLetters(
                request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S
            )
        )
        return answer.removed

    async def models(self) -> Sequence[inference_pb2.ModelStatus]:
        answer = await self._call(
            self._inference.ListModels(
                inference_pb2.ListModelsRequest(), metadata=self._metadata, timeout=_CALL_TIMEOUT_S
            )
        )
        return answer.models

    async def usage(self, request: usage_pb2.GetUsageRequest) -> usage_pb2.GetUsageResponse:
        return await self._call(
            self._usage.GetUsage(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def budgets(self) -> Sequence[usage_pb2.BudgetState]:
        answer = await self._call(
            self._usage.ListBudgets(
                usage_pb2.ListBudgetsRequest(), metadata=self._metadata, timeout=_CALL_TIMEOUT_S
            )
        )
        return answer.budgets

    async def put_agent(self, name: str, spec: agents_pb2.AgentSpec) -> agents_pb2.Agent:
        return await self._call(
            self._agents.PutAgent(
                agents_pb2.PutAgentRequest(name=name, spec=spec),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def agent(self, name: str) -> agents_pb2.Agent:
        """`name@version`, or the newest version of a bare name."""
        return await self._call(
            self._agents.GetAgent(
                agents_pb2.GetAgentRequest(name=name),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def agents(
        self, *, page_size: int = 20, page_token: str = ""
    ) -> agents_pb2.ListAgentsResponse:
        request = agents_pb2.ListAgentsRequest(page_size=page_size, page_token=page_token)
        return await self._call(
            self._agents.ListAgents(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def create_session(self, agent: str = "") -> sessions_pb2.Session:
        return await self._call(
            self._sessions.CreateSession(
                sessions_pb2.CreateSessionRequest(agent=agent),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def session(self, session_id: str) -> sessions_pb2.Session:
        return await self._call(
            self._sessions.GetSession(
                sessions_pb2.GetSessionRequest(session_id=session_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def sessions(
        self, *, page_size: int = 20, page_token: str = ""
    ) -> sessions_pb2.ListSessionsResponse:
        request = sessions_pb2.ListSessionsRequest(page_size=page_size, page_token=page_token)
        return await self._call(
            self._sessions.ListSessions(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def messages(
        self, session_id: str, *, page_size: int = 0, page_token: str = ""
    ) -> sessions_pb2.ListMessagesResponse:
        request = sessions_pb2.ListMessagesRequest(
            session_id=session_id, page_size=page_size, page_token=page_token
        )
        return await self._call(
            self._sessions.ListMessages(request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        )

    async def fork_session(self, session_id: str) -> sessions_pb2.Session:
        """A new session with a copy of the messages so far."""
        return await self._call(
            self._sessions.ForkSession(
                sessions_pb2.ForkSessionRequest(session_id=session_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def delete_session(self, session_id: str) -> None:
        """Deletes the session with its messages and runs."""
        await self._call(
            self._sessions.DeleteSession(
                sessions_pb2.DeleteSessionRequest(session_id=session_id),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    @staticmethod
    async def _call(call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.RpcError as error:
            raise call_error(error) from None
