"""Runs that took longer than they were given, by the store's clock."""

from __future__ import annotations

from orchestrator.domain.interrupts import Approved, InterruptKind
from orchestrator.domain.machine import Failed, ToolOutcomeUnknown, advance
from orchestrator.domain.runs import BusyPolicy, RunError, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import State
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    a_moment,
    child_of,
    claim_one,
    eventually,
    resumed,
    submitted,
    tool_result,
    waits_for,
    with_tools,
)

APPROVAL = {"c0": InterruptKind.APPROVAL}


async def overdue(state: State, limit: int = 99) -> list[str]:
    return [late.run.run_id for late in await state.runs.overdue(limit=limit)]


async def a_while(state: State) -> None:
    for _ in range(5):
        await a_moment(state)


async def test_a_queued_run_is_overdue_after_its_timeout(state: State) -> None:
    await submitted(state, "for ever")
    await submitted(state, "long", timeout_ms=LONG_MS)
    run = await submitted(state, "short", timeout_ms=1)
    await a_while(state)
    assert await overdue(state) == [run.run_id]


async def test_a_run_that_somebody_works_on_is_not_overdue_until_it_is_given_back(
    state: State,
) -> None:
    run = await submitted(state, timeout_ms=1)
    claim = await claim_one(state)
    await a_while(state)
    assert await overdue(state) == []
    await state.runs.release(claim.lease, delay_ms=LONG_MS)
    assert await eventually(lambda: overdue(state)) == [run.run_id]


async def test_a_run_whose_worker_died_is_overdue_once_it_is_reaped(state: State) -> None:
    run = await submitted(state, timeout_ms=1)
    await claim_one(state, lease_ms=0)
    await a_while(state)
    await state.runs.reap(limit=9)
    assert await eventually(lambda: overdue(state)) == [run.run_id]


async def test_a_run_that_waits_for_another_is_overdue(state: State) -> None:
    run = await with_tools(state, timeout_ms=1)
    claim = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, claim)
    await state.runs.commit(claim, waits_for(child, claim))
    await a_while(state)
    assert await overdue(state) == [run.run_id]


async def test_a_run_that_waits_behind_another_is_overdue(state: State) -> None:
    first = await submitted(state, "one")
    second = await submitted(
        state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE, timeout_ms=1
    )
    await a_while(state)
    assert await overdue(state) == [second.run_id]


async def test_interrupted_time_is_not_counted(state: State) -> None:
    run = await with_tools(state, gates=APPROVAL, timeout_ms=150)
    interrupted = await state.runs.get(TENANT, run.run_id)
    assert interrupted.paused_ms == 0
    for _ in range(200):
        await a_moment(state)
    assert await overdue(state) == []
    await resumed(state, run, Approved())
    now = await state.runs.get(TENANT, run.run_id)
    assert now.paused_ms == now.updated_ms - interrupted.updated_ms >= 200
    assert await eventually(lambda: overdue(state)) == [run.run_id]
    late = await state.sessions.create(TENANT, agent="", labels={})
    assert late.created_ms > now.created_ms + 150 + now.paused_ms


async def test_a_claim_of_a_run_that_still_waits_counts_the_time_it_has_waited(
    state: State,
) -> None:
    gates = dict.fromkeys(("c0", "c1"), InterruptKind.APPROVAL)
    run = await with_tools(state, calls=CALLS, gates=gates, timeout_ms=LONG_MS)
    interrupted = await state.runs.get(TENANT, run.run_id)
    await a_while(state)
    await resumed(state, run, Approved())
    claim = await claim_one(state, WorkKind.TOOL)
    assert claim.run.state is RunState.INTERRUPTED
    assert claim.run.paused_ms >= claim.now_ms - interrupted.updated_ms >= 5
    await state.runs.commit(claim, tool_result(claim))
    await resumed(state, run, Approved())
    now = await state.runs.get(TENANT, run.run_id)
    assert now.paused_ms == now.updated_ms - interrupted.updated_ms


async def test_every_interruption_of_a_run_adds_to_its_paused_time(state: State) -> None:
    run = await with_tools(state, gates=APPROVAL, timeout_ms=LONG_MS)
    await a_while(state)
    await resumed(state, run, Approved())
    first = (await state.runs.get(TENANT, run.run_id)).paused_ms
    await a_while(state)
    assert (await state.runs.get(TENANT, run.run_id)).paused_ms == first > 0
    claim = await claim_one(state, WorkKind.TOOL)
    assert claim.run.paused_ms == first
    await state.runs.commit(claim, advance(claim.run, ToolOutcomeUnknown("c0", "", LONG_MS)))
    await a_while(state)
    ended = await state.runs.cancel(TENANT, run.run_id)
    assert (await state.runs.get(TENANT, run.run_id)).paused_ms == ended.paused_ms > first


async def test_the_longest_overdue_come_first_and_no_more_than_asked(state: State) -> None:
    runs = []
    for number in range(4):
        runs.append(await submitted(state, str(number), timeout_ms=1))
        await a_moment(state)
    await a_while(state)
    assert await overdue(state, limit=3) == [run.run_id for run in runs[:3]]


async def test_a_run_that_ended_is_not_overdue(state: State) -> None:
    run = await submitted(state, timeout_ms=1)
    await a_while(state)
    (late,) = await state.runs.overdue(limit=9)
    failed = advance(late.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=late.version)
    assert await overdue(state) == []
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.FAILED
