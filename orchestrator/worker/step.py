"""One inference step, from claim to commit."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, replace

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
from orchestrator.domain.errors import Exhausted, Internal, InvalidInput, Unavailable
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
from orchestrator.worker.malformed import REASON as MALFORMED
from orchestrator.worker.malformed import asked_again
from orchestrator.worker.offer import Offer
from orchestrator.worker.structured import InvalidOutput, Structured, Turn


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
            else:
                return

    async def _try(self, step: _Step, emitter: Emitter) -> None:
        claim, spec = step.claim, step.agent.spec
        began = time.perf_counter()
        entry, decided = await self._choice.choose(claim.run, step.agent, step.messages)
        if decided is not None:
            emitter.put(decided)
        route_ms = (time.perf_counter() - began) * 1000
        try:
            answer = await self._answer(step, entry, emitter)
        except (_GivenUp, InvalidOutput) as ended:
            reason = ended.reason if isinstance(ended, _GivenUp) else "INVALID_OUTPUT"
            failed = Failed(RunError(reason=reason, message=str(ended)), step.spent)
            await commit(self._runs, claim, failed, emitted=await emitter.rest())
            self._metrics.used(entry.name, step.spent)
            return
        record = _record(claim, entry, answer.finished, step.spent, route_ms)
        finished = InferenceFinished(
            answer.text,
            answer.calls,
            record,
            gates=self._offer.gates(spec, answer.calls),
            interrupt_ttl_ms=spec.interrupt_timeout_ms or self._settings.interrupt_ttl_ms,
        )
        await commit(self._runs, claim, finished, emitted=await emitter.rest())
        self._metrics.inferred(record)

    async def _answer(self, step: _Step, entry: ModelEntry, emitter: Emitter) -> _Answer:
        """Asks until the answer is what the run wants, or the model has had its chances.

        Raises:
            _GivenUp, InvalidOutput: after an answer; `step.spent` has what was used.
        """
        schema = step.claim.run.output_schema_json
        structured = Structured(schema, entry, step.tools) if schema else None
        turn = structured.first() if structured else Turn(tools=step.tools)
        while True:
            try:
                answer = await self._fitted(step, turn, entry, emitter)
            except MalformedToolCall as malformed:
                step.blame(malformed, entry)
                turn = asked_again(turn, malformed)
                emitter.put(StepRestarted(reason=f"{MALFORMED}: {malformed.detail}"))
                continue
            step.spend(answer.finished.usage, entry)
            if structured is None or answer.calls:
                return answer
            judged = structured.judge(turn, answer.text, answer.finished.reason)
            if isinstance(judged, str):
                return replace(answer, text=judged)
            turn = judged
            if answer.text:
                emitter.put(StepRestarted(reason="INVALID_OUTPUT"))

    async def _fitted(
        self, step: _Step, turn: Turn, entry: ModelEntry, emitter: Emitter
    ) -> _Answer:
        """Leaves out of the conversation what the model has no room for."""
        while True:
            try:
                return await self._infer(step, turn, entry, emitter)
            except InvalidInput as error:
                if error.reason == "CONTEXT_LENGTH" and step.shorten(error):
                    continue
                if not step.spent.tokens:
                    raise
                raise _GivenUp(error.reason, error.message) from None
            except Exhausted as error:
                if not step.spent.tokens:
                    raise
                raise _GivenUp(error.reason, error.message) from None

    async def _infer(self, step: _Step, turn: Turn, entry: ModelEntry, emitter: Emitter) -> _Answer:
        text: list[str] = []
        calls: list[ToolCall] = []
        finished: ChatFinished | None = None
        request = ChatRequest(
            model=entry.name,
            messages=turn.messages(step.messages),
            tools=turn.tools,
            sampling=step.agent.spec.sampling,
            allowance=step.allowance(entry),
            output=turn.output,
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


class _GivenUp(Exception):
    """The run fails, and is charged for what the step took."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Step:
    """What a step is asked: `messages` is what of `_whole` the model has room for.

    `spent` is what its answers took so far; `asked` the models whose answers it has, or is
    getting.
    """

    def __init__(self, claim: Claim, agent: Agent, messages: tuple[Message, ...]) -> None:
        self.claim = claim
        self.agent = agent
        self.messages = self._whole = messages
        self.tools: tuple[ToolSchema, ...] = ()
        self.spent = Usage()
        self._blamed = False
        self.asked: list[tuple[ModelEntry, Meter]] = []
        self._excess = 0

    def spend(self, usage: Usage, entry: ModelEntry) -> None:
        self.spent += entry.priced(usage)

    def allowance(self, entry: ModelEntry) -> Allowance:
        """Raises Exhausted BUDGET: the run has nothing left."""
        run = self.claim.run
        return left_of(run.model_copy(update={"usage": run.usage + self.spent}), entry)

    def blame(self, malformed: MalformedToolCall, entry: ModelEntry) -> None:
        """Counts an answer that has a malformed call.

        Raises:
            _GivenUp: it is the step's second, or took all of the budget.
        """
        allowance = self.allowance(entry)
        usage = malformed.usage
        usage = usage.model_copy(update={"cost_micros": entry.cost_micros(usage)})
        self.spent += usage
        if allowance.spent_by(usage):
            raise _GivenUp("BUDGET", f"budget ran out while {entry.name} wrote a tool call")
        if self._blamed:
            twice = f"{entry.name} wrote a tool call that can't be read, and so again when told"
            raise _GivenUp(MALFORMED, f"{twice}: {malformed.detail}")
        self._blamed = True

    def shorten(self, error: InvalidInput) -> bool:
        """Leaves more out after the model refused the length; False when nothing more may go."""
        before = self.messages
        self._excess += excess_chars(before, error)
        self.messages = fit(self._whole, self._excess)
        return self.messages != before


def _numbered(claim: Claim, calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Gives each call an id that is unique in the run and the same when the step runs again."""
    return tuple(
        call.model_copy(update={"call_id": f"call_{claim.lease.item.step}_{number}"})
        for number, call in enumerate(calls, 1)
    )


def _record(
    claim: Claim, entry: ModelEntry, finished: ChatFinished, spent: Usage, route_ms: float
) -> StepRecord:
    return StepRecord(
        step=claim.lease.item.step,
        attempt=claim.lease.attempt,
        model=entry.name,
        finish_reason=finished.reason.value,
        usage=spent,
        route_ms=route_ms,
        prompt_ms=finished.prompt_ms,
        ttft_ms=finished.ttft_ms,
        inference_ms=finished.inference_ms,
    )
