"""One tool call, from claim to commit, or back to the queue."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.delegation import ask_tools, handover_tools
from orchestrator.domain.errors import Internal
from orchestrator.domain.machine import ToolFinished, ToolOutcomeUnknown
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, ToolResult, ToolSpec, failure
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.decision import AskPerson, Busy, Finish, Next, TryAgain, after
from orchestrator.toolbox.runner import ToolRunner

CUT_OFF = "an earlier try was cut off; whether it took effect is not known"


@dataclass(frozen=True, slots=True)
class CallSettings:
    """`interrupt_ttl_ms` is how long a person has to answer, where the agent does not say."""

    run_timeout_s: float = 600.0  # of a run that names none
    interrupt_ttl_ms: int = 86_400_000


class ToolCallHandler:
    """Runs the call that was claimed, if the run's agent may, and commits its result."""

    def __init__(
        self,
        *,
        runs: RunStore,
        agents: AgentBook,
        tools: ToolRegistry,
        runner: ToolRunner,
        metrics: ExecutionMetrics,
        settings: CallSettings = CallSettings(),
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._tools = tools
        self._runner = runner
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, claim: Claim) -> None:
        call = claim.lease.item.call
        if call is None:
            raise Internal(f"{claim.lease.item.key} is no tool call")
        began = time.perf_counter()
        match await self._next(claim, call):
            case Finish(result):
                duration_ms = (time.perf_counter() - began) * 1000
                finished = ToolFinished(call.call_id, result.ok, result.content, duration_ms)
                await commit(self._runs, claim, finished)
            case AskPerson(detail):
                ttl_ms = await self._interrupt_ttl_ms(claim)
                unknown = ToolOutcomeUnknown(call.call_id, detail, ttl_ms)
                await commit(self._runs, claim, unknown)
            case TryAgain(delay_s=delay_s, counts=counts):
                await self._runs.release(
                    claim.lease, delay_ms=max(1, int(delay_s * 1000)), counts=counts
                )

    async def _next(self, claim: Claim, call: ToolCall) -> Next:
        agent = await self._agents.get(claim.run.tenant, claim.run.agent)
        spec = self._tools.specs().get(call.name) if call.name in agent.spec.tools else None
        if spec is None:
            may = ", ".join(_named(agent.spec)) or "none"
            self._metrics.tool_called("unknown", "failed")
            return Finish(failure(f"there is no tool {call.name[:64]!r}; the tools are: {may}"))
        attempt, once = claim.lease.attempt, spec.effect is Effect.AT_MOST_ONCE
        if once and attempt > 1:
            return AskPerson(CUT_OFF)
        # The loop ends the call with its run; a tool is told in time.
        ends = time.monotonic() + claim.left_ms(int(self._settings.run_timeout_s * 1000)) / 1000
        while True:
            tried = await self._try(claim, call, spec, ends)
            decided = after(spec, tried, attempt=attempt, draw=random.uniform)
            if not isinstance(decided, TryAgain) or decided.elsewhere:
                return decided
            attempt += 1
            await asyncio.sleep(decided.delay_s)

    async def _try(
        self, claim: Claim, call: ToolCall, spec: ToolSpec, ends: float
    ) -> ToolResult | Busy:
        remaining_s = max(0.0, ends - time.monotonic())
        tried = await self._runner.run(
            spec, call, key=claim.lease.item.key, remaining_s=remaining_s
        )
        self._metrics.tool_called(
            call.name, "busy" if isinstance(tried, Busy) else tried.outcome.value
        )
        return tried

    async def _interrupt_ttl_ms(self, claim: Claim) -> int:
        agent = await self._agents.get(claim.run.tenant, claim.run.agent)
        return agent.spec.interrupt_timeout_ms or self._settings.interrupt_ttl_ms


def _named(spec: AgentSpec) -> Iterator[str]:
    """All that the model may call, in the order in which it is shown them."""
    yield from spec.tools
    yield from (tool.name for tool in spec.client_tools)
    yield from ask_tools(spec.agents)
    yield from handover_tools(spec.handovers)
