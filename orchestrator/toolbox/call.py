"""One tool call, from claim to commit."""

from __future__ import annotations

import json
import time

from orchestrator.domain.errors import Internal
from orchestrator.domain.machine import ToolFinished
from orchestrator.domain.tools import Effect, ToolResult
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolRegistry


class ToolCallHandler:
    """Runs the call that was claimed, if the run's agent may, and commits its result."""

    def __init__(
        self, runs: RunStore, agents: AgentBook, tools: ToolRegistry, metrics: ExecutionMetrics
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._tools = tools
        self._metrics = metrics

    async def __call__(self, claim: Claim) -> None:
        call = claim.lease.item.call
        if call is None:
            raise Internal(f"{claim.lease.item.key} is no tool call")
        began = time.perf_counter()
        result = await self._result(claim)
        duration_ms = (time.perf_counter() - began) * 1000
        self._metrics.tool_called(
            call.name if call.name in self._tools.specs() else "unknown", ok=result.ok
        )
        await commit(
            self._runs, claim, ToolFinished(call.call_id, result.ok, result.content, duration_ms)
        )

    async def _result(self, claim: Claim) -> ToolResult:
        call = claim.lease.item.call
        assert call is not None
        agent = await self._agents.get(claim.run.tenant, claim.run.agent)
        if call.name not in agent.spec.tools:
            may = ", ".join(agent.spec.tools) or "none"
            return _refused(f"there is no tool {call.name!r}; the tools are: {may}")
        spec = self._tools.specs().get(call.name)
        if spec and spec.effect is Effect.AT_MOST_ONCE and claim.lease.attempt > 1:
            return _refused("an earlier try was cut off; whether it took effect is not known")
        return await self._tools.call(call, key=claim.lease.item.key)


def _refused(why: str) -> ToolResult:
    return ToolResult(ok=False, content=json.dumps({"error": why}))
