"""A tool call that is a run of another agent: started, waited for, answered."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from orchestrator.domain.agents import Agent, Budget
from orchestrator.domain.delegation import ask_tools, text_argument
from orchestrator.domain.errors import Internal, NotFound
from orchestrator.domain.machine import Submitted, SubRunOpened, ToolFinished, advance
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Parent, PendingCall, Run, RunState
from orchestrator.domain.tools import failure
from orchestrator.domain.work import Claim
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.commit import commit
from orchestrator.ports.state import Registration, RunStore

PARENT_LABEL = "parent_run_id"


@dataclass(frozen=True, slots=True)
class SubRunSettings:
    """`max_depth` 1 lets a run start others, but not those others more."""

    max_depth: int = 4
    run_timeout_s: float = 600.0  # of a run that names none


class Refused(Exception):
    """No run is started; the model reads why."""


class SubRuns:
    """Every part may be repeated: the child's id is bound to the item's key.

    The item is parked while the child is at work, so that waiting costs no slot.
    """

    def __init__(
        self, runs: RunStore, agents: AgentBook, settings: SubRunSettings = SubRunSettings()
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._settings = settings

    async def carry_on(
        self, claim: Claim, parent: Agent, call: ToolCall, pending: PendingCall
    ) -> None:
        """Starts the run that the call asks for, or commits what it came to.

        Raises:
            Exhausted: QUEUE_FULL, the child can't be accepted now.
        """
        if pending.child_run_id:
            await self._answer(claim, call, pending.child_run_id)
            return
        reference = ask_tools(parent.spec.agents)[call.name]
        try:
            child = await self._start(claim, parent, call, reference)
        except Refused as refused:
            result = failure(str(refused))
            await commit(self._runs, claim, ToolFinished(call.call_id, False, result.content, 0.0))
        else:
            opened = SubRunOpened(call.call_id, child.run_id, child.agent)
            await commit(self._runs, claim, opened)

    async def _start(self, claim: Claim, parent: Agent, call: ToolCall, reference: str) -> Run:
        tenant, key = claim.run.tenant, claim.lease.item.key
        made = await self._runs.register(
            tenant, key, fingerprint=key, session_id="", near=claim.run.run_id
        )
        if made.fingerprint != key:
            raise Internal(f"the request id {key} stands for another run, {made.run_id}")
        if not made.created:
            with suppress(NotFound):  # an earlier try may have come further than this
                return await self._runs.get(tenant, made.run_id)
        child = await self._planned(claim, parent, call, reference, made)
        await self._runs.submit(advance(child, Submitted()), session_labels=child.labels)
        return child

    async def _planned(
        self, claim: Claim, parent: Agent, call: ToolCall, reference: str, made: Registration
    ) -> Run:
        run = claim.run
        depth = run.parent.depth + 1 if run.parent else 1
        if depth > self._settings.max_depth:
            raise Refused(f"agents may start agents {self._settings.max_depth} deep, not deeper")
        try:
            text = text_argument(call.arguments_json, "input")
            agent = await self._agents.resolve(run.tenant, reference)
        except ValueError as wrong:
            raise Refused(str(wrong)) from None
        except NotFound:
            raise Refused(f"there is no agent {reference} any more") from None
        return Run(
            run_id=made.run_id,
            tenant=run.tenant,
            session_id=made.session_id,
            agent=agent.reference,
            input=text,
            budget=_budget(run, agent, _open_asks(run, parent)),
            timeout_ms=self._timeout_ms(claim, agent),
            priority=run.priority,
            labels={PARENT_LABEL: run.run_id},
            output_schema_json=agent.spec.output_schema_json,
            parent=Parent(run_id=run.run_id, item_key=claim.lease.item.key, depth=depth),
        )

    def _timeout_ms(self, claim: Claim, agent: Agent) -> int:
        default_ms = int(self._settings.run_timeout_s * 1000)
        left_ms = claim.left_ms(default_ms)
        if left_ms <= 0:
            raise Refused("the run has no time left")
        return min(agent.spec.timeout_ms or default_ms, left_ms)

    async def _answer(self, claim: Claim, call: ToolCall, child_run_id: str) -> None:
        try:
            child = await self._runs.get(claim.run.tenant, child_run_id)
        except NotFound:
            gone = failure(f"the run {child_run_id} was deleted before it ended")
            await commit(self._runs, claim, ToolFinished(call.call_id, False, gone.content, 0.0))
            return
        if not child.state.terminal:
            await commit(self._runs, claim, SubRunOpened(call.call_id, child.run_id, child.agent))
            return
        finished = ToolFinished(
            call.call_id,
            ok=child.state is RunState.COMPLETED,
            content=_said(child),
            duration_ms=float(child.finished_ms - child.created_ms),
            usage=child.usage,
        )
        await commit(self._runs, claim, finished)


def _said(child: Run) -> str:
    if child.state is RunState.COMPLETED:
        return child.result
    why = f": {child.error.message}" if child.error else ""
    return failure(f"the run of {child.agent} {child.state.value}{why}").content


def _open_asks(run: Run, parent: Agent) -> int:
    """The sub-run calls of the step that share what is left."""
    names = ask_tools(parent.spec.agents)
    return max(1, sum(p.content is None and p.call.name in names for p in run.pending))


def _budget(run: Run, agent: Agent, sharers: int) -> Budget:
    """The child's own limits, within its share of what the parent has left."""
    own, have, used = agent.spec.budget, run.budget, run.usage
    return Budget(
        max_steps=_share(own.max_steps, have.max_steps, run.step, sharers, "max_steps"),
        max_tokens=_share(own.max_tokens, have.max_tokens, used.tokens, sharers, "max_tokens"),
        max_cost_micros=_share(
            own.max_cost_micros, have.max_cost_micros, used.cost_micros, sharers, "max_cost_micros"
        ),
    )


def _share(own: int, have: int, used: int, sharers: int, name: str) -> int:
    if not have:
        return own
    share = (have - used) // sharers
    if share < 1:
        raise Refused(f"budget.{name} = {have} leaves nothing for another run")
    return min(own, share) if own else share
