"""Runs that other runs started, and the items that wait for them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import keys, open_redis_state
from orchestrator.domain.errors import Exhausted, StaleLease
from orchestrator.domain.events import StepRestarted, SubRunStarted
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.machine import Failed, SubRunOpened, ToolFinished, advance
from orchestrator.domain.runs import Parent, Run, RunError, RunState
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.sweeper import Sweeper
from orchestrator.ports.state import LeaseState, Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    answer,
    asks_for_tools,
    call_id,
    child_of,
    claim_one,
    claimed,
    committed,
    eventually,
    failure,
    payloads,
    submitted,
    tool_result,
    waits_for,
    with_tools,
)


async def parked(state: State) -> tuple[Run, Run, Claim]:
    """A run whose tool call is parked on a run of another agent, and the claim that parked it."""
    run = await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, claim)
    await state.runs.commit(claim, waits_for(child, claim))
    return run, child, claim


async def finished(state: State) -> None:
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))


async def test_a_child_lives_in_its_parents_shard_and_in_a_session_of_its_own(
    state: State,
) -> None:
    run, child, _ = await parked(state)
    assert child.run_id[3:7] == run.run_id[3:7]
    assert child.session_id != run.session_id
    claim = await claim_one(state)
    assert claim.run.parent == Parent(run_id=run.run_id, item_key=f"{run.run_id}:1:c0", depth=1)
    assert claim.lease.item.parent_run_id == run.run_id
    assert not claim.cancel_requested


async def test_a_parked_item_is_neither_claimed_nor_leased_until_the_child_has_ended(
    state: State,
) -> None:
    run, child, claim = await parked(state)
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    assert await state.runs.reap(limit=9) == 0
    assert await state.runs.extend([claim.lease], lease_ms=1) == (LeaseState.LOST,)
    (load,) = await state.runs.loads(WorkKind.TOOL)
    assert (load.queued, load.running) == (0, 0)
    await finished(state)
    (again,) = await claimed(state, WorkKind.TOOL, limit=9)
    assert again.lease.item == claim.lease.item
    assert again.run.pending[0].child_run_id == child.run_id
    await state.runs.commit(again, tool_result(again))
    assert (await claim_one(state)).run.step == 2
    started = SubRunStarted(call_id="c0", run_id=child.run_id, agent=child.agent)
    assert (await payloads(state, run)).count(started) == 1


async def test_what_was_parked_starts_with_its_attempts_forgotten(open_state: Open) -> None:
    async with open_state(Limits(max_attempts=3)) as state:
        run = await with_tools(state)
        for _ in range(2):
            await claim_one(state, WorkKind.TOOL, lease_ms=0)
            await state.runs.reap(limit=9)
        claim = await claim_one(state, WorkKind.TOOL)
        assert claim.lease.attempt == 3
        said = sum(isinstance(e, StepRestarted) for e in await payloads(state, run))
        child = await child_of(state, claim)
        await state.runs.commit(claim, waits_for(child, claim))
        await finished(state)
        again = await claim_one(state, WorkKind.TOOL)
        assert again.lease.attempt == 1
        assert sum(isinstance(e, StepRestarted) for e in await payloads(state, run)) == said


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "exhausted"])
async def test_a_parked_item_is_queued_however_the_child_ends(open_state: Open, how: str) -> None:
    async with open_state(Limits(max_attempts=1)) as state:
        _, child, _ = await parked(state)
        if how == "cancelled":
            await state.runs.cancel(TENANT, child.run_id)
        elif how == "exhausted":
            await claim_one(state, lease_ms=0)
            await state.runs.reap(limit=9)
        else:
            claim = await claim_one(state)
            await state.runs.commit(claim, failure(claim) if how == "failed" else answer(claim))
        assert len(await claimed(state, WorkKind.TOOL, limit=9)) == 1


async def test_an_item_parked_on_a_run_that_ended_is_queued_at_once(state: State) -> None:
    await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, claim)
    await finished(state)
    await state.runs.commit(claim, waits_for(child, claim))
    assert (await claim_one(state, WorkKind.TOOL)).lease.attempt == 1


async def test_an_item_parked_on_a_run_that_is_gone_is_queued_at_once(state: State) -> None:
    await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, claim)
    await state.runs.cancel(TENANT, child.run_id)
    await state.sessions.delete(TENANT, child.session_id)
    await state.runs.commit(claim, waits_for(child, claim))
    assert (await claim_one(state, WorkKind.TOOL)).lease.attempt == 1


async def test_a_commit_that_parked_stays_done_when_it_is_repeated(state: State) -> None:
    run, child, claim = await parked(state)
    await state.runs.commit(claim, waits_for(child, claim))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    await finished(state)
    await state.runs.commit(claim, waits_for(child, claim))
    again = await claim_one(state, WorkKind.TOOL)
    await state.runs.commit(again, tool_result(again))
    for repeated in (claim, again):
        await state.runs.commit(repeated, waits_for(child, repeated))
    assert (await state.runs.get(TENANT, run.run_id)).step == 2
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()


async def test_another_lease_of_a_parked_item_commits_nothing(state: State) -> None:
    _, child, claim = await parked(state)
    other = claim.model_copy(update={"lease": claim.lease.model_copy(update={"nonce": "mine"})})
    with pytest.raises(StaleLease):
        await state.runs.commit(other, waits_for(child, other))


async def test_a_child_that_ends_queues_only_the_item_that_is_parked_on_it(state: State) -> None:
    await with_tools(state, calls=CALLS)
    first, second = await claimed(state, WorkKind.TOOL, limit=2)
    one, two = await child_of(state, first, "one"), await child_of(state, second, "two")
    await state.runs.commit(first, waits_for(one, first))
    await committed(state, second, lambda claim: waits_for(two, claim))
    await state.runs.cancel(TENANT, two.run_id)
    (again,) = await claimed(state, WorkKind.TOOL, limit=9)
    assert again.lease.item.call == CALLS[1]


async def test_another_child_of_the_same_call_queues_nothing_when_it_ends(state: State) -> None:
    await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    forgotten = await child_of(state, claim, "forgotten")
    child = await child_of(state, claim, "child")
    await state.runs.commit(claim, waits_for(child, claim))
    await state.runs.cancel(TENANT, forgotten.run_id)
    assert await claimed(state, WorkKind.TOOL) == ()


async def test_a_child_that_ends_before_its_parent_parked_leaves_the_lease_alone(
    state: State,
) -> None:
    await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    await child_of(state, claim)
    await finished(state)
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    assert await state.runs.extend([claim.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)


async def test_a_child_that_nobody_works_on_ends_with_its_parent(state: State) -> None:
    run, child, _ = await parked(state)
    await state.runs.cancel(TENANT, run.run_id)
    assert (await state.runs.get(TENANT, child.run_id)).state is RunState.CANCELLED
    assert await claimed(state) == ()


@pytest.mark.parametrize("gone", [False, True])
async def test_a_child_that_its_parent_never_knew_is_to_be_cancelled_when_that_has_ended(
    state: State, gone: bool
) -> None:
    run = await with_tools(state)
    child = await child_of(state, await claim_one(state, WorkKind.TOOL))
    now = await state.runs.read(TENANT, run.run_id)
    failed = advance(now.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=now.version)
    if gone:
        await state.sessions.delete(TENANT, run.session_id)
    claim = await claim_one(state)
    assert (claim.run.run_id, claim.cancel_requested) == (child.run_id, True)
    assert await state.runs.extend([claim.lease], lease_ms=1) == (LeaseState.CANCEL_REQUESTED,)
    await state.runs.release(claim.lease, delay_ms=LONG_MS)
    assert (await claim_one(state)).cancel_requested


async def test_an_end_comes_down_to_the_last_grandchild_however_each_waits(state: State) -> None:
    run, child, _ = await parked(state)
    step = await claim_one(state)
    await state.runs.commit(step, asks_for_tools(step, CALLS[:1]))
    tool = await claim_one(state, WorkKind.TOOL)
    grandchild = await child_of(state, tool, "grandchild")
    await state.runs.commit(tool, waits_for(grandchild, tool))
    step = await claim_one(state)
    gates = {"c0": InterruptKind.REPLY}
    await state.runs.commit(step, asks_for_tools(step, CALLS[:1], gates=gates))
    assert await claimed(state, WorkKind.TOOL) == ()

    await state.runs.cancel(TENANT, run.run_id)
    for ended in (run, child, grandchild):
        assert (await state.runs.get(TENANT, ended.run_id)).state is RunState.CANCELLED
    assert await claimed(state, WorkKind.TOOL) == ()


async def test_an_end_comes_down_to_a_grandchild_that_somebody_works_on(state: State) -> None:
    run, child, _ = await parked(state)
    step = await claim_one(state)
    await state.runs.commit(step, asks_for_tools(step, CALLS[:1]))
    tool = await claim_one(state, WorkKind.TOOL)
    grandchild = await child_of(state, tool, "grandchild")
    await state.runs.commit(tool, waits_for(grandchild, tool))
    step = await claim_one(state)
    now = await state.runs.read(TENANT, run.run_id)
    failed = advance(now.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=now.version)
    assert (await state.runs.get(TENANT, child.run_id)).state is RunState.CANCELLED
    assert (await state.runs.get(TENANT, grandchild.run_id)).state is RunState.RUNNING
    assert await state.runs.extend([step.lease], lease_ms=1) == (LeaseState.CANCEL_REQUESTED,)


async def test_a_child_of_a_run_that_ended_is_not_made_to_wait(state: State) -> None:
    run, child, _ = await parked(state)
    step = await claim_one(state)
    await state.runs.cancel(TENANT, run.run_id)
    gates = {"c0": InterruptKind.REPLY}
    await state.runs.commit(step, asks_for_tools(step, CALLS[:1], gates=gates))
    claim = await claim_one(state, WorkKind.TOOL)
    assert (claim.run.run_id, claim.cancel_requested) == (child.run_id, True)


async def test_another_tenants_run_is_nobodys_parent(state: State) -> None:
    run = await with_tools(state)
    tool = await claim_one(state, WorkKind.TOOL)
    parent = Parent(run_id=run.run_id, item_key=tool.lease.item.key, depth=1)
    theirs = await submitted(state, "intruder", tenant="other", parent=parent)
    await state.runs.commit(tool, waits_for(theirs, tool))
    claim = await claim_one(state)
    assert (claim.lease.tenant, claim.cancel_requested) == ("other", True)
    again = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, again)
    fresh = await state.runs.refresh(again)
    await state.runs.commit(fresh, advance(fresh.run, SubRunOpened("c0", child.run_id, "x@1")))
    await state.runs.commit(claim, answer(claim))
    assert await claimed(state, WorkKind.TOOL) == ()


async def test_a_child_is_not_refused_for_its_tenants_live_runs(open_state: Open) -> None:
    async with open_state(Limits(live_runs=1)) as state:
        await with_tools(state)
        claim = await claim_one(state, WorkKind.TOOL)
        await child_of(state, claim)
        with pytest.raises(Exhausted):
            await submitted(state, "another")


async def test_what_a_child_took_is_charged_to_the_parents_run(state: State) -> None:
    run, child, _ = await parked(state)
    await finished(state)
    claim = await claim_one(state, WorkKind.TOOL)
    took = (await state.runs.get(TENANT, child.run_id)).usage
    moved = advance(claim.run, ToolFinished(call_id(claim), True, "so", 1.0, usage=took))
    await state.runs.commit(claim, moved)
    assert (await state.runs.get(TENANT, run.run_id)).usage.prompt_tokens == 30


async def test_a_parent_that_fails_takes_its_parked_item_along(state: State) -> None:
    run, child, _ = await parked(state)
    step = await claim_one(state)
    now = await state.runs.read(TENANT, run.run_id)
    failed = advance(now.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=now.version)
    await state.runs.commit(step, answer(step))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.FAILED
    assert (await state.runs.get(TENANT, child.run_id)).state is RunState.COMPLETED


async def test_a_child_that_waits_for_a_person_ends_though_its_parent_never_knew_it(
    state: State,
) -> None:
    run = await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, claim)
    step = await claim_one(state)
    await state.runs.commit(step, asks_for_tools(step, gates={"c0": InterruptKind.REPLY}))
    assert await state.runs.orphans(limit=9) == ()
    await state.runs.commit(claim, failure(claim))
    (orphan,) = await eventually(lambda: state.runs.orphans(limit=9))
    assert (orphan.run_id, orphan.state) == (child.run_id, RunState.INTERRUPTED)
    assert orphan.parent
    assert orphan.parent.run_id == run.run_id
    sweeper = Sweeper(state.runs, ExecutionMetrics(CollectorRegistry()))

    async def swept() -> bool:
        await sweeper.sweep()
        return (await state.runs.get(TENANT, child.run_id)).state is RunState.CANCELLED

    await eventually(swept)
    assert await state.runs.orphans(limit=9) == ()


async def test_nothing_is_kept_of_children_that_have_ended(redis_url: str) -> None:
    async with open_redis_state(redis_url) as state, Redis.from_url(redis_url) as admin:
        _, child, _ = await parked(state)
        assert await admin.zcard(keys.children(0)) == 1
        await state.runs.cancel(TENANT, child.run_id)
        assert await admin.zcard(keys.children(0)) == 0
