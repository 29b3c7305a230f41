"""One inference step, from claim to commit."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass

from orchestrator.domain.agents import Agent
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import (
    ChatFinished,
    ChatRequest,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    Unavailable,
)
from orchestrator.domain.events import StepRestarted, TextDelta
from orchestrator.domain.machine import Failed, InferenceFinished
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.runs import RunError, StepRecord
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.models import LanguageModel, RequestClassifier
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.worker.choice import ModelChoice
from orchestrator.worker.context import HISTORY_MESSAGES, assemble, shorten
from orchestrator.worker.emitter import Emitter


@dataclass(frozen=True, slots=True)
class StepSettings:
    """`patience_s`: how long a step waits for a model to come back before it fails."""

    patience_s: float = 25.0
    timeout_s: float = 600.0  # of a run that names none
    lease_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    calls: tuple[ToolCall, ...]
    finished: ChatFinished


class StepHandler:
    """Routes, infers and commits one step, streaming its text into the run's events."""

    def __init__(
        self,
        *,
        state: State,
        agents: AgentBook,
        tools: ToolRegistry,
        classifier: RequestClassifier,
        language: LanguageModel,
        catalogue: Catalogue,
        metrics: ExecutionMetrics,
        settings: StepSettings,
    ) -> None:
        self._state = state
        self._agents = agents
        self._tools = tools
        self._language = language
        self._choice = ModelChoice(classifier, catalogue)
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, claim: Claim) -> None:
        emitter = Emitter(self._state.runs, claim.lease)
        try:
            async with asyncio.timeout(self._remaining_s(claim)):
                await self._step(claim, emitter)
        except TimeoutError:
            run = claim.run
            limit_s = (run.timeout_ms or self._settings.timeout_s * 1000) / 1000
            raise DeadlineExceeded(
                f"run {run.run_id} took longer than its timeout of {limit_s:g} s"
            ) from None
        finally:
            await emitter.close()

    def _remaining_s(self, claim: Claim) -> float:
        # The store's clock says when the lease began; no clock of ours is compared with it.
        now_ms = claim.lease.expires_ms - self._settings.lease_s * 1000
        limit_ms = claim.run.timeout_ms or self._settings.timeout_s * 1000
        return max(0.0, (claim.run.created_ms + limit_ms - now_ms) / 1000)

    async def _step(self, claim: Claim, emitter: Emitter) -> None:
        run = claim.run
        agent, history = await asyncio.gather(
            self._agents.get(run.tenant, run.agent),
            self._state.sessions.messages(run.tenant, run.session_id, start=-HISTORY_MESSAGES),
        )
        messages = assemble(agent.spec.system_prompt, history)
        give_up = time.monotonic() + self._settings.patience_s
        waits = full_jitter(base_s=0.1, cap_s=1.0)
        while True:
            try:
                await self._try(claim, agent, messages, emitter)
            except Unavailable as error:
                if error.reason != "MODEL_UNAVAILABLE" or time.monotonic() > give_up:
                    raise
                await asyncio.sleep(next(waits))
            except InvalidInput as error:
                if error.reason != "CONTEXT_LENGTH":
                    raise
                messages = shorten(messages, error)
            else:
                return

    async def _try(
        self, claim: Claim, agent: Agent, messages: tuple[Message, ...], emitter: Emitter
    ) -> None:
        began = time.perf_counter()
        entry, decided = await self._choice.choose(claim.run, agent, messages)
        if decided is not None:
            emitter.put(decided)
        route_ms = (time.perf_counter() - began) * 1000
        try:
            answer = await self._infer(claim, agent, entry, messages, emitter)
        except MalformedToolCall as malformed:
            await emitter.flush()
            error = RunError(
                reason="MALFORMED_TOOL_CALL",
                message=f"{entry.name} wrote a tool call that can't be read: {malformed.detail}",
            )
            await commit(self._state.runs, claim, Failed(error, malformed.usage))
            return
        await emitter.flush()
        record = _record(claim, entry, answer.finished, route_ms)
        await commit(self._state.runs, claim, InferenceFinished(answer.text, answer.calls, record))
        self._metrics.inferred(record)

    async def _infer(
        self,
        claim: Claim,
        agent: Agent,
        entry: ModelEntry,
        messages: tuple[Message, ...],
        emitter: Emitter,
    ) -> _Answer:
        text: list[str] = []
        calls: list[ToolCall] = []
        finished: ChatFinished | None = None
        request = ChatRequest(
            model=entry.name,
            messages=messages,
            tools=tuple(spec.schema for spec in self._tools.select(agent.spec.tools)),
            sampling=agent.spec.sampling,
        )
        try:
            async with aclosing(self._language.chat(request)) as chunks:
                async for chunk in chunks:
                    match chunk:
                        case TextChunk():
                            text.append(chunk.text)
                            emitter.put(TextDelta(text=chunk.text))
                        case ToolCallChunk():
                            calls.append(chunk.call)
                        case ChatFinished():
                            finished = chunk
        except Unavailable:
            self._choice.shun(entry.name)
            if text:
                emitter.put(StepRestarted(reason="MODEL_UNAVAILABLE"))
            raise
        if finished is None:
            raise Internal(f"{entry.name} ended its answer without saying so")
        return _Answer("".join(text), _numbered(claim, calls), finished)


def _numbered(claim: Claim, calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Gives each call an id that is unique in the run and the same when the step runs again."""
    return tuple(
        call.model_copy(update={"call_id": f"call_{claim.lease.item.step}_{number}"})
        for number, call in enumerate(calls, 1)
    )


def _record(claim: Claim, entry: ModelEntry, finished: ChatFinished, route_ms: float) -> StepRecord:
    usage = finished.usage
    return StepRecord(
        step=claim.lease.item.step,
        attempt=claim.lease.attempt,
        model=entry.name,
        finish_reason=finished.reason.value,
        usage=usage.model_copy(update={"cost_micros": entry.cost_micros(usage)}),
        route_ms=route_ms,
        prompt_ms=finished.prompt_ms,
        ttft_ms=finished.ttft_ms,
        inference_ms=finished.inference_ms,
    )
