"""One inference step, from claim to commit."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass

from orchestrator.domain.agents import Agent
from orchestrator.domain.allowance import Allowance, left_of
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import (
    ChatFinished,
    ChatRequest,
    MalformedToolCall,
    Meter,
    TextChunk,
    ToolCallChunk,
    ToolSchema,
)
from orchestrator.domain.errors import Internal, InvalidInput, Unavailable
from orchestrator.domain.events import StepRestarted, TextDelta
from orchestrator.domain.machine import Failed, InferenceFinished
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.runs import RunError, StepRecord, Usage
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import full_jitter
from orchestrator.execution.signals import CutShort
from orchestrator.ports.models import LanguageModel, RequestClassifier
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolRegistry
from orchestrator.worker.choice import ModelChoice
from orchestrator.worker.context import assemble, excess_chars, fit
from orchestrator.worker.emitter import Emitter
from orchestrator.worker.offer import Offer


@dataclass(frozen=True, slots=True)
class StepSettings:
    """`patience_s`: how long a step waits for a model to come back before it is handed back.

    `interrupt_ttl_ms`: how long somebody has to answer, where the agent does not say.
    """

    patience_s: float = 25.0
    interrupt_ttl_ms: int = 86_400_000


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
        runs: RunStore,
        agents: AgentBook,
        tools: ToolRegistry,
        classifier: RequestClassifier,
        language: LanguageModel,
        catalogue: Catalogue,
        metrics: ExecutionMetrics,
        settings: StepSettings = StepSettings(),
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._offer = Offer(agents, tools)
        self._language = language
        self._choice = ModelChoice(classifier, catalogue)
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, claim: Claim) -> None:
        run = claim.run
        agent = await self._agents.get(run.tenant, run.agent)
        step = _Step(claim, agent, assemble(agent.spec.system_prompt, claim.history, run))
        step.tools = await self._offer.schemas(run.tenant, agent)
        emitter = Emitter(self._runs, claim.lease)
        try:
            await self._until_answered(step, emitter)
        except asyncio.CancelledError:
            raise CutShort(self._taken(step)) from None
        finally:
            await emitter.close()

    def _taken(self, step: _Step) -> Usage:
        taken = Usage()
        for entry, meter in step.asked:
            usage = entry.priced(meter.usage)
            self._metrics.used(entry.name, usage)
            taken += usage
        return taken

    async def _until_answered(self, step: _Step, emitter: Emitter) -> None:
        give_up = time.monotonic() + self._settings.patience_s
        waits = full_jitter(base_s=0.1, cap_s=1.0)
        while True:
            try:
                await self._try(step, emitter)
            except Unavailable as error:
                if error.reason != "MODEL_UNAVAILABLE" or time.monotonic() > give_up:
                    raise
                await asyncio.sleep(next(waits))
            except InvalidInput as error:
                if error.reason != "CONTEXT_LENGTH" or not step.shorten(error):
                    raise
            else:
                return

    async def _try(self, step: _Step, emitter: Emitter) -> None:
        claim, spec = step.claim, step.agent.spec
        began = time.perf_counter()
        entry, decided = await self._choice.choose(claim.run, step.agent, step.messages)
        if decided is not None:
            emitter.put(decided)
        route_ms = (time.perf_counter() - began) * 1000
        allowance = left_of(claim.run, entry)
        try:
            answer = await self._infer(step, entry, allowance, emitter)
        except MalformedToolCall as malformed:
            failed = _malformed(malformed, entry, allowance)
            await commit(self._runs, claim, failed, emitted=await emitter.rest())
            return
        record = _record(claim, entry, answer.finished, route_ms)
        finished = InferenceFinished(
            answer.text,
            answer.calls,
            record,
            gates=self._offer.gates(spec, answer.calls),
            interrupt_ttl_ms=spec.interrupt_timeout_ms or self._settings.interrupt_ttl_ms,
        )
        await commit(self._runs, claim, finished, emitted=await emitter.rest())
        self._metrics.inferred(record)

    async def _infer(
        self, step: _Step, entry: ModelEntry, allowance: Allowance, emitter: Emitter
    ) -> _Answer:
        text: list[str] = []
        calls: list[ToolCall] = []
        finished: ChatFinished | None = None
        request = ChatRequest(
            model=entry.name,
            messages=step.messages,
            tools=step.tools,
            sampling=step.agent.spec.sampling,
            allowance=allowance,
        )
        step.asked.append((entry, request.meter))
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
            step.asked.pop()  # nobody pays for what is tried again
            self._choice.shun(entry.name)
            if text:
                emitter.put(StepRestarted(reason="MODEL_UNAVAILABLE"))
            raise
        if finished is None:
            raise Internal(f"{entry.name} ended its answer without saying so")
        return _Answer("".join(text), _numbered(step.claim, calls), finished)


class _Step:
    """What a step is asked: `messages` is what of `_whole` the model has room for.

    `asked`: the models whose answers the step has, or is getting.
    """

    def __init__(self, claim: Claim, agent: Agent, messages: tuple[Message, ...]) -> None:
        self.claim = claim
        self.agent = agent
        self.messages = self._whole = messages
        self.tools: tuple[ToolSchema, ...] = ()
        self.asked: list[tuple[ModelEntry, Meter]] = []
        self._excess = 0

    def shorten(self, error: InvalidInput) -> bool:
        """Leaves more out after the model refused the length; False when nothing more may go."""
        before = self.messages
        self._excess += excess_chars(before, error)
        self.messages = fit(self._whole, self._excess)
        return self.messages != before


def _malformed(malformed: MalformedToolCall, entry: ModelEntry, allowance: Allowance) -> Failed:
    usage = entry.priced(malformed.usage)
    if allowance.spent_by(usage):
        said = f"budget ran out while {entry.name} wrote a tool call"
        return Failed(RunError(reason="BUDGET", message=said), usage)
    said = f"{entry.name} wrote a tool call that can't be read: {malformed.detail}"
    return Failed(RunError(reason="MALFORMED_TOOL_CALL", message=said), usage)


def _numbered(claim: Claim, calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Gives each call an id that is unique in the run and the same when the step runs again."""
    return tuple(
        call.model_copy(update={"call_id": f"call_{claim.lease.item.step}_{number}"})
        for number, call in enumerate(calls, 1)
    )


def _record(claim: Claim, entry: ModelEntry, finished: ChatFinished, route_ms: float) -> StepRecord:
    return StepRecord(
        step=claim.lease.item.step,
        attempt=claim.lease.attempt,
        model=entry.name,
        finish_reason=finished.reason.value,
        usage=entry.priced(finished.usage),
        route_ms=route_ms,
        prompt_ms=finished.prompt_ms,
        ttft_ms=finished.ttft_ms,
        inference_ms=finished.inference_ms,
    )
