"""Calls the orchestrator, and keeps a question alive through its restarts."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import grpc

from orchestrator.client.errors import CallError, call_error
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
)

T = TypeVar("T")

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_RETRY_EVERY_S = 0.25
_CALL_TIMEOUT_S = 30.0


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
        self._inference: inference_pb2_grpc.InferenceServiceAsyncStub = (
            inference_pb2_grpc.InferenceServiceStub(channel)
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, api_key: str = "") -> AsyncIterator[Self]:
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            yield cls(channel, api_key)

    async def ask(
        self,
        request: runs_pb2.StartRunRequest,
        *,
        patience_s: float = 30.0,
        on_wait: Callable[[CallError], None] = lambda _: None,
    ) -> AsyncGenerator[runs_pb2.RunEvent, None]:
        """Yields the run's events, each once and in order, up to `finished`.

        A service that goes away meanwhile is waited for, at most `patience_s`
        without an event; the run is then followed from where it was. A missing
        `request_id` is made, so that the run is started once whatever happens.
        `on_wait` is told why, once for each time it has to be waited for.
        """
        if not request.request_id:
            request.request_id = uuid.uuid4().hex
        run_id, seq, since, told = "", 0, time.monotonic(), False
        while True:
            try:
                stream = (
                    self._runs.WatchRun(
                        runs_pb2.WatchRunRequest(run_id=run_id, after_seq=seq),
                        metadata=self._metadata,
                    )
                    if run_id
                    else self._runs.Ask(request, metadata=self._metadata)
                )
                async for event in stream:
                    since, told = time.monotonic(), False
                    if run_id and event.seq <= seq:
                        continue  # the snapshot that begins every watch
                    run_id, seq = event.run_id, event.seq
                    yield event
                    if event.WhichOneof("payload") == "finished":
                        return
            except grpc.RpcError as error:
                failed = call_error(error)
                if not failed.retryable or time.monotonic() - since > patience_s:
                    raise failed from None
                if not told:
                    on_wait(failed)
                    told = True
            await asyncio.sleep(_RETRY_EVERY_S)

    async def watch(
        self, run_id: str, *, after_seq: int = 0
    ) -> AsyncGenerator[runs_pb2.RunEvent, None]:
        """Yields a snapshot and every event after `after_seq`, up to `finished`."""
        request = runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq)
        try:
            async for event in self._runs.WatchRun(request, metadata=self._metadata):
                yield event
        except grpc.RpcError as error:
            raise call_error(error) from None

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

    async def models(self) -> Sequence[inference_pb2.ModelStatus]:
        answer = await self._call(
            self._inference.ListModels(
                inference_pb2.ListModelsRequest(), metadata=self._metadata, timeout=_CALL_TIMEOUT_S
            )
        )
        return answer.models

    async def put_agent(self, name: str, spec: agents_pb2.AgentSpec) -> agents_pb2.Agent:
        return await self._call(
            self._agents.PutAgent(
                agents_pb2.PutAgentRequest(name=name, spec=spec),
                metadata=self._metadata,
                timeout=_CALL_TIMEOUT_S,
            )
        )

    async def create_session(self, agent: str = "") -> sessions_pb2.Session:
        return await self._call(
            self._sessions.CreateSession(
                sessions_pb2.CreateSessionRequest(agent=agent),
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
