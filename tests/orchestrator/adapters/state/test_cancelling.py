"""A run that nobody wants any more, whatever it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.domain.errors import NotFound, StaleLease
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.machine import CancelRequested, advance
from orchestrator.domain.messages import Role
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import LeaseState, State
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    answer,
    asks_for_tools,
    child_of,
    claim_one,
    claimed,
    committed,
    submitted,
    tool_result,
    waits_for,
    with_tools,
)

ASKED = (LeaseState.CANCEL_REQUESTED,)


async def test_a_queued_run_is_cancelled_at_once(state: State) -> None:
    run = await submitted(state)
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED
    assert await claimed(state) == ()
    assert (await state.sessions.get(TENANT, run.session_id)).active_run_id == ""
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED


async def test_a_waiting_run_is_cancelled_without_ever_starting(state: State) -> None:
    first = await submitted(state, "one")
    second = await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    third = await submitted(state, "three", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    await state.runs.cancel(TENANT, second.run_id)
    claim = await claim_one(state)
    assert claim.run.run_id == first.run_id
    await state.runs.commit(claim, answer(claim))
    assert (await claim_one(state)).run.run_id == third.run_id


async def test_a_running_runs_workers_are_asked_to_stop(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.RUNNING
    assert await state.runs.extend([claim.lease], lease_ms=LONG_MS) == (
        LeaseState.CANCEL_REQUESTED,
    )


async def test_a_delayed_or_interrupted_run_is_cancelled_at_once(state: State) -> None:
    run = await with_tools(state, gates={"c0": InterruptKind.APPROVAL})
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.INTERRUPTED
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [m.tool_call_id for m in messages if m.role is Role.TOOL] == ["c0"]


async def test_a_run_that_was_given_back_is_cancelled_at_once(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.release(claim.lease, delay_ms=LONG_MS)
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED


async def test_a_run_that_waits_for_another_is_cancelled_at_once_and_the_other_is_told(
    state: State,
) -> None:
    run = await with_tools(state)
    tool = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, tool)
    await state.runs.commit(tool, waits_for(child, tool))
    work = await claim_one(state)
    assert await state.runs.extend([work.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED
    assert await state.runs.extend([work.lease], lease_ms=LONG_MS) == ASKED
    await state.runs.commit(work, advance(work.run, CancelRequested()))
    assert (await state.runs.get(TENANT, child.run_id)).state is RunState.CANCELLED
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()


async def test_one_call_at_work_is_enough_to_be_asked_and_not_ended(state: State) -> None:
    run = await with_tools(state, calls=CALLS)
    tool = await claim_one(state, WorkKind.TOOL)
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.WAITING_FOR_TOOLS
    await state.runs.commit(tool, advance(tool.run, CancelRequested()))
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.CANCELLED
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()


async def test_a_dead_owners_item_comes_back_with_the_wish_to_cancel(state: State) -> None:
    run = await submitted(state)
    dead = await claim_one(state, lease_ms=0)
    assert not dead.cancel_requested
    await state.runs.cancel(TENANT, run.run_id)
    await state.runs.reap(limit=9)
    claim = await claim_one(state)
    assert claim.cancel_requested
    with pytest.raises(StaleLease):
        await state.runs.commit(dead, answer(dead))
    await state.runs.commit(claim, advance(claim.run, CancelRequested()))
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.CANCELLED


async def test_every_later_item_of_the_run_comes_with_the_wish_to_cancel(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.cancel(TENANT, run.run_id)
    await state.runs.commit(claim, asks_for_tools(claim))
    tools = await claimed(state, WorkKind.TOOL, limit=9)
    assert [tool.cancel_requested for tool in tools] == [True, True]


async def test_the_wish_to_cancel_ends_with_the_run(state: State) -> None:
    first = await submitted(state, "one")
    claim = await claim_one(state)
    await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    await state.runs.cancel(TENANT, first.run_id)
    await state.runs.commit(claim, answer(claim))
    following = await claim_one(state)
    assert (following.run.input, following.cancel_requested) == ("two", False)
    assert await state.runs.extend([following.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)


async def test_an_interrupting_run_ends_one_that_is_interrupted(state: State) -> None:
    first = await with_tools(state, gates={"c0": InterruptKind.REPLY})
    await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.INTERRUPT)
    assert (await state.runs.get(TENANT, first.run_id)).state is RunState.CANCELLED
    assert (await claim_one(state)).run.input == "two"


async def test_cancels_are_told_as_they_are_asked(state: State) -> None:
    cancels = state.runs.cancels()
    heard: set[str] = set()
    listening = asyncio.ensure_future(_listen(cancels, heard))
    runs = [await submitted(state, text) for text in ("one", "two")]
    await claimed(state, limit=2)
    async with asyncio.timeout(10):
        while heard < {run.run_id for run in runs}:
            for run in runs:
                await state.runs.cancel(TENANT, run.run_id)
            await asyncio.sleep(0.01)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert heard == {run.run_id for run in runs}


async def _listen(cancels: AsyncIterator[str], heard: set[str]) -> None:
    async for run_id in cancels:
        heard.add(run_id)


async def test_another_tenant_cancels_nothing(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    with pytest.raises(NotFound):
        await state.runs.cancel("other", run.run_id)
    assert await state.runs.extend([claim.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)


async def test_a_tool_that_ends_well_though_cancel_was_asked_is_written(state: State) -> None:
    run = await with_tools(state)
    tool = await claim_one(state, WorkKind.TOOL)
    await state.runs.cancel(TENANT, run.run_id)
    await state.runs.commit(tool, tool_result(tool))
    assert (await claim_one(state)).cancel_requested


GATED = {"c0": InterruptKind.APPROVAL}


async def test_a_call_that_ends_well_leaves_the_end_to_what_waits_for_a_person(
    state: State,
) -> None:
    run = await with_tools(state, calls=CALLS, gates=GATED)
    busy = await claim_one(state, WorkKind.TOOL)
    await state.runs.cancel(TENANT, run.run_id)
    await committed(state, busy, tool_result)
    waiting = await claim_one(state, WorkKind.TOOL)
    assert (waiting.lease.item.call, waiting.cancel_requested) == (CALLS[0], True)
    await committed(state, waiting, lambda claim: advance(claim.run, CancelRequested()))
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.CANCELLED


async def test_a_call_that_ends_well_leaves_the_end_to_what_waits_for_another_run(
    state: State,
) -> None:
    run = await with_tools(state, calls=CALLS)
    parked, busy = await claimed(state, WorkKind.TOOL, limit=2)
    child = await child_of(state, parked)
    await state.runs.commit(parked, waits_for(child, parked))
    await state.runs.cancel(TENANT, run.run_id)
    await committed(state, busy, tool_result)
    again = await claim_one(state, WorkKind.TOOL)
    assert (again.lease.item, again.cancel_requested) == (parked.lease.item, True)
    assert again.lease.attempt == 1


@pytest.mark.parametrize("how", ["gated", "parked", "given back"])
async def test_nothing_of_a_run_whose_cancel_is_asked_is_made_to_wait(
    state: State, how: str
) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    if how == "gated":
        await state.runs.cancel(TENANT, run.run_id)
        await state.runs.commit(claim, asks_for_tools(claim, CALLS[:1], gates=GATED))
    else:
        await state.runs.commit(claim, asks_for_tools(claim, CALLS[:1]))
        claim = await claim_one(state, WorkKind.TOOL)
        child = await child_of(state, claim)
        await state.runs.cancel(TENANT, run.run_id)
        if how == "parked":
            await state.runs.commit(claim, waits_for(child, claim))
        else:
            await state.runs.release(claim.lease, delay_ms=LONG_MS)
    assert (await claim_one(state, WorkKind.TOOL)).cancel_requested
