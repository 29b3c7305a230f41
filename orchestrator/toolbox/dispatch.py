"""Who answers a tool call: nobody any more, another agent, or a tool."""

from __future__ import annotations

import asyncio

from orchestrator.domain.agents import Agent
from orchestrator.domain.delegation import ask_tools, handover_tools, text_argument
from orchestrator.domain.errors import Internal, NotFound
from orchestrator.domain.machine import InterruptExpired, ToolFinished
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import PendingCall, Run
from orchestrator.domain.tools import Effect, failure
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.approvals import needs_approval
from orchestrator.execution.commit import commit
from orchestrator.execution.loop import Handler
from orchestrator.execution.outside import answered_outside, what_is_wrong
from orchestrator.execution.signals import NotRepeatable
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.sub_run import SubRuns


class ToolDispatcher:
    """Sends each claimed call where it belongs; `calls` gets those of tools."""

    def __init__(
        self,
        *,
        runs: RunStore,
        agents: AgentBook,
        tools: ToolRegistry,
        calls: Handler,
        sub_runs: SubRuns,
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._tools = tools
        self._calls = calls
        self._sub_runs = sub_runs

    async def __call__(self, claim: Claim) -> None:
        call = claim.lease.item.call
        if call is None:
            raise Internal(f"{claim.lease.item.key} is no tool call")
        pending = _pending(claim.run, call)
        if pending.interrupt is not None:
            # Its item was delayed to the end of the time to answer, which is now.
            await commit(self._runs, claim, InterruptExpired(call.call_id))
            return
        agent = await self._agents.get(claim.run.tenant, claim.run.agent)
        if answered_outside(agent.spec, call.name):
            wrong = (
                what_is_wrong(agent.spec, call) or f"{call.name} was not asked for; call it again"
            )
            await self._refuse(claim, call, wrong)
        elif not pending.approved and needs_approval(agent.spec, self._tools, call.name):
            # The worker that saw the call did not know: a tool's server was away from it.
            await self._refuse(claim, call, f"{call.name} needs an approval; call it again")
        elif call.name in ask_tools(agent.spec.agents):
            await self._sub_runs.carry_on(claim, agent, call, pending)
        elif call.name in handover_tools(agent.spec.handovers):
            await self._hand_over(claim, agent, call)
        else:
            await self._run(claim, call)

    async def _run(self, claim: Claim, call: ToolCall) -> None:
        try:
            await self._calls(claim)
        except asyncio.CancelledError:
            spec = self._tools.specs().get(call.name)
            if spec is not None and spec.effect is Effect.AT_MOST_ONCE:
                raise NotRepeatable from None
            raise

    async def _hand_over(self, claim: Claim, agent: Agent, call: ToolCall) -> None:
        if len(claim.run.pending) > 1:
            await self._refuse(claim, call, f"{call.name} must be the only call of its step")
            return
        reference = handover_tools(agent.spec.handovers)[call.name]
        try:
            text_argument(call.arguments_json, "reason")
            other = await self._agents.resolve(claim.run.tenant, reference)
        except ValueError as wrong:
            await self._refuse(claim, call, str(wrong))
        except NotFound:
            await self._refuse(claim, call, f"there is no agent {reference} any more")
        else:
            said = f"{other.reference} goes on with the conversation."
            await commit(
                self._runs,
                claim,
                ToolFinished(call.call_id, True, said, 0.0, handover=other.reference),
            )

    async def _refuse(self, claim: Claim, call: ToolCall, why: str) -> None:
        result = failure(why)
        await commit(self._runs, claim, ToolFinished(call.call_id, False, result.content, 0.0))


def _pending(run: Run, call: ToolCall) -> PendingCall:
    for pending in run.pending:
        if pending.call.call_id == call.call_id:
            return pending
    raise Internal(f"run {run.run_id} has no open call {call.call_id}")
