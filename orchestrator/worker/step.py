"""One inference step, from claim to commit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatFinished
from orchestrator.domain.errors import FleetError, Unavailable
from orchestrator.domain.machine import Failed, InferenceFinished
from orchestrator.domain.runs import CallOutcome, ModelCall, RunError, StepRecord
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.policy import Treatment, treatment
from orchestrator.execution.retry import full_jitter
from orchestrator.execution.signals import CutShort
from orchestrator.model_calls.router import NOTHING_KNOWN, LiveModels
from orchestrator.ports.models import LanguageModel, RequestClassifier
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolRegistry
from orchestrator.worker.answering import Answer, Answering
from orchestrator.worker.attempt import Attempt, GivenUp
from orchestrator.worker.cascade import Cascade
from orchestrator.worker.choice import ModelChoice
from orchestrator.worker.context import assemble
from orchestrator.worker.emitter import Emitter
from orchestrator.worker.offer import Offer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepSettings:
    """`patience_s`: how long a step waits for a model to come back before it is handed back.

    `interrupt_ttl_ms`: how long somebody has to answer, where the agent does not say.
    """

    patience_s: float = 25.0
    interrupt_ttl_ms: int = 86_400_000


@dataclass(frozen=True, slots=True)
class _Routed:
    """`larger` is the model to ask when the answer of `entry` fails its check."""

    entry: ModelEntry
    larger: ModelEntry | None
    took_ms: float


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
        live: LiveModels = NOTHING_KNOWN,
        metrics: ExecutionMetrics,
        settings: StepSettings = StepSettings(),
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._offer = Offer(agents, tools)
        self._answering = Answering(language)
        self._cascade = Cascade(self._answering, tools)
        self._catalogue = catalogue
        self._choice = ModelChoice(classifier, catalogue, live)
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, claim: Claim) -> None:
        run = claim.run
        agent = await self._agents.get(run.tenant, run.agent)
        messages = assemble(agent.spec.system_prompt, claim.history, run)
        tools = await self._offer.schemas(run.tenant, agent)
        attempt = Attempt(claim, agent, messages, tools)
        emitter = Emitter(self._runs, claim.lease)
        try:
            await self._until_ended(attempt, emitter)
        except asyncio.CancelledError:
            self._count(attempt)
            raise CutShort(attempt.calls_ending(CallOutcome.CUT_SHORT)) from None
        finally:
            await emitter.close()

    async def _until_ended(self, attempt: Attempt, emitter: Emitter) -> None:
        """Raises what is to be tried again, and what ends the run before it took anything."""
        try:
            await self._until_answered(attempt, emitter)
        except GivenUp as given_up:
            error = RunError(reason=given_up.reason, message=str(given_up))
        except FleetError as failed:
            if treatment(failed) is not Treatment.FAIL or not attempt.spent.tokens:
                raise
            log.warning("%s: %s: %s", attempt.claim.lease.item.key, failed.reason, failed.message)
            error = RunError(reason=failed.reason, message=failed.message)
        else:
            return
        failure = Failed(error, attempt.calls_ending(CallOutcome.REJECTED))
        await commit(self._runs, attempt.claim, failure, emitted=await emitter.rest())
        self._count(attempt)

    def _count(self, attempt: Attempt) -> None:
        for call in attempt.calls:
            if call.outcome is not CallOutcome.CACHED:
                self._metrics.used(call.model, call.usage)

    async def _until_answered(self, attempt: Attempt, emitter: Emitter) -> None:
        """A model that fails is left for another at once; with none left, they are waited for."""
        give_up = time.monotonic() + self._settings.patience_s
        waits = full_jitter(base_s=0.1, cap_s=1.0)
        failed: dict[str, str] = {}
        while True:
            try:
                routed = await self._routed(attempt, failed, emitter)
            except Unavailable as error:
                if error.reason != "MODEL_UNAVAILABLE" or time.monotonic() > give_up:
                    raise
                failed.clear()
                await asyncio.sleep(next(waits))
                continue
            entry = routed.entry
            try:
                answer = None
                if routed.larger is not None:
                    answer = await self._cascade.tried(attempt, entry, routed.larger, emitter)
                    entry = routed.larger if answer is None else entry
                answer = answer or await self._answering.answer(attempt, entry, emitter)
                return await self._commit(attempt, answer, entry, routed.took_ms, emitter)
            except Unavailable as error:
                if not error.another_may_answer:
                    raise
                self._metrics.left(entry.name)
                failed[entry.name] = "not answering"

    async def _routed(
        self, attempt: Attempt, failed: Mapping[str, str], emitter: Emitter
    ) -> _Routed:
        began = time.perf_counter()
        rejected = dict.fromkeys(attempt.rejected, "not good enough for this step")
        entry, decided = await self._choice.choose(
            attempt.claim.run, attempt.agent, attempt.messages, {**rejected, **failed}
        )
        larger = None
        if decided is not None:
            emitter.put(decided)
            larger = self._catalogue.get(decided.escalate_to)
        return _Routed(entry, larger, (time.perf_counter() - began) * 1000)

    async def _commit(
        self,
        attempt: Attempt,
        answer: Answer,
        entry: ModelEntry,
        route_ms: float,
        emitter: Emitter,
    ) -> None:
        claim, spec = attempt.claim, attempt.agent.spec
        record = _record(claim, entry, answer.finished, attempt.calls, route_ms)
        finished = InferenceFinished(
            answer.text,
            answer.calls,
            record,
            gates=self._offer.gates(spec, answer.calls),
            interrupt_ttl_ms=spec.interrupt_timeout_ms or self._settings.interrupt_ttl_ms,
        )
        await commit(self._runs, claim, finished, emitted=await emitter.rest())
        self._count(attempt)
        if answer.finished.cached is None:
            self._metrics.inferred(record)


def _record(
    claim: Claim,
    entry: ModelEntry,
    finished: ChatFinished,
    calls: tuple[ModelCall, ...],
    route_ms: float,
) -> StepRecord:
    return StepRecord(
        step=claim.lease.item.step,
        attempt=claim.lease.attempt,
        model=entry.name,
        finish_reason=finished.reason.value,
        calls=calls,
        route_ms=route_ms,
        prompt_ms=finished.prompt_ms,
        ttft_ms=finished.ttft_ms,
        inference_ms=finished.inference_ms,
    )
