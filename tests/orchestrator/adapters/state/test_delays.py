"""Items that wait for a time: delayed, given back, replaced, dropped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from orchestrator.domain.errors import StaleLease
from orchestrator.domain.events import StepRestarted, TextDelta
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.machine import Transition
from orchestrator.domain.runs import Run, RunState
from orchestrator.domain.work import Claim, WorkItem, WorkKind
from orchestrator.ports.state import LeaseState, State
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    a_moment,
    answer,
    child_of,
    claim_one,
    claimed,
    eventually,
    payloads,
    submitted,
    tool_result,
    waits_for,
    with_tools,
)

APPROVAL = {"c0": InterruptKind.APPROVAL}


def restarts(events: Sequence[object]) -> int:
    return sum(isinstance(event, StepRestarted) for event in events)


def tools_of(state: State) -> Callable[[], Awaitable[tuple[Claim, ...]]]:
    return lambda: claimed(state, WorkKind.TOOL, limit=9)


async def test_a_delayed_item_is_claimed_when_its_time_has_come(state: State) -> None:
    run = await with_tools(state, calls=CALLS, gates=APPROVAL, ttl_ms=60)
    queued_ms = (await state.runs.get(TENANT, run.run_id)).updated_ms
    (other,) = await claimed(state, WorkKind.TOOL, limit=9)
    assert other.lease.item.call == CALLS[1]
    (due,) = await eventually(tools_of(state))
    assert due.lease.item.call == CALLS[0]
    assert due.now_ms >= queued_ms + 60


async def test_waiting_is_counted_from_when_the_item_became_ready(state: State) -> None:
    run = await with_tools(state, gates=APPROVAL, ttl_ms=200)
    queued_ms = (await state.runs.get(TENANT, run.run_id)).updated_ms
    (due,) = await eventually(tools_of(state))
    assert 0 <= due.waited_ms <= due.now_ms - queued_ms - 200


async def test_a_claim_tells_the_time_and_how_long_the_item_waited(state: State) -> None:
    run = await submitted(state)
    await a_moment(state)
    claim = await claim_one(state)
    assert claim.lease.expires_ms == claim.now_ms + LONG_MS
    assert 0 < claim.waited_ms <= claim.now_ms - claim.run.created_ms
    assert claim.run.run_id == run.run_id


async def test_a_claim_brings_the_newest_messages_and_no_more_than_asked(state: State) -> None:
    run = await submitted(state, "one")
    claim = await claim_one(state)
    assert claim.history == ()
    await state.runs.commit(claim, answer(claim, "ONE"))
    await submitted(state, "two", session_id=run.session_id)
    (claim,) = await state.runs.claim(
        WorkKind.REASON, worker="w", limit=1, lease_ms=LONG_MS, history=2
    )
    assert [m.content for m in claim.history] == ["ONE", "two"]
    await state.runs.commit(claim, answer(claim, "TWO"))
    await submitted(state, "three", session_id=run.session_id)
    (claim,) = await state.runs.claim(
        WorkKind.REASON, worker="w", limit=1, lease_ms=LONG_MS, history=99
    )
    assert [m.content for m in claim.history] == ["one", "ONE", "two", "TWO", "three"]


async def test_what_was_given_back_may_be_claimed_again_at_once(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state)
    await state.runs.release(claim.lease)
    again = await claim_one(state)
    assert again.lease.item == claim.lease.item
    assert (again.lease.attempt, again.lease.nonce != claim.lease.nonce) == (2, True)


async def test_what_was_given_back_with_a_delay_is_not_claimed_before(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state)
    await state.runs.release(claim.lease, delay_ms=60)
    (again,) = await eventually(lambda: claimed(state))
    assert again.now_ms >= claim.now_ms + 60


async def test_who_gave_an_item_back_can_write_nothing(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.release(claim.lease, delay_ms=LONG_MS)
    for write in (
        state.runs.emit(claim.lease, [TextDelta(text="ghost")]),
        state.runs.commit(claim, answer(claim, "ghost")),
    ):
        with pytest.raises(StaleLease):
            await write
    assert await state.runs.extend([claim.lease], lease_ms=LONG_MS) == (LeaseState.LOST,)
    assert TextDelta(text="ghost") not in await payloads(state, run)


async def test_giving_back_again_changes_nothing(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state)
    for _ in range(3):
        await state.runs.release(claim.lease, counts=False)
    again = await claim_one(state)
    await state.runs.release(claim.lease)
    assert again.lease.attempt == 1
    assert await state.runs.extend([again.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)


async def test_a_lost_lease_gives_nothing_back(state: State) -> None:
    await submitted(state)
    lost = await claim_one(state, lease_ms=0)
    await state.runs.reap(limit=9)
    again = await claim_one(state)
    with pytest.raises(StaleLease):
        await state.runs.release(lost.lease)
    assert await state.runs.extend([again.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)


async def test_giving_back_costs_an_attempt_only_if_it_counts(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    for _ in range(9):
        await state.runs.release(claim.lease, counts=False)
        claim = await claim_one(state)
        assert claim.lease.attempt == 1
    assert restarts(await payloads(state, run)) == 0
    await state.runs.release(claim.lease)
    assert (await claim_one(state)).lease.attempt == 2
    assert restarts(await payloads(state, run)) == 1


async def test_a_step_that_was_lost_before_says_so_also_after_it_was_given_back(
    state: State,
) -> None:
    run = await submitted(state)
    await claim_one(state, lease_ms=0)
    await state.runs.reap(limit=9)
    claim = await claim_one(state)
    await state.runs.release(claim.lease, counts=False)
    assert (await claim_one(state)).lease.attempt == 2
    assert restarts(await payloads(state, run)) == 2


async def test_events_that_were_held_back_come_before_those_of_the_outcome(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.emit(claim.lease, [TextDelta(text="a")])
    held_back = [TextDelta(text="b"), TextDelta(text="c")]
    for _ in range(2):
        await state.runs.commit(claim, answer(claim), emitted=held_back)
    events = await payloads(state, run)
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["a", "b", "c"]
    assert [e.kind for e in events[-2:]] == ["text_delta", "finished"]


async def test_a_stale_commit_writes_none_of_the_events_it_held_back(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state, lease_ms=0)
    await state.runs.reap(limit=9)
    with pytest.raises(StaleLease):
        await state.runs.commit(claim, answer(claim), emitted=[TextDelta(text="ghost")])
    assert TextDelta(text="ghost") not in await payloads(state, run)


async def changed(
    state: State, run: Run, *, enqueue: tuple[WorkItem, ...] = (), drop: tuple[str, ...] = ()
) -> None:
    now = await state.runs.read(run.tenant, run.run_id)
    moved = Transition(run=now.run, enqueue=enqueue, drop=drop)
    await state.runs.change(moved, version=now.version)


async def in_state(state: State, what: str) -> tuple[Run, WorkItem, Claim | None]:
    """A run with one tool item that is queued, delayed, leased or parked."""
    gates = APPROVAL if what == "delayed" else {}
    run = await with_tools(state, gates=gates)
    item = WorkItem(kind=WorkKind.TOOL, run_id=run.run_id, step=1, call=CALLS[0])
    if what not in ("leased", "parked"):
        return run, item, None
    claim = await claim_one(state, WorkKind.TOOL)
    if what == "parked":
        await state.runs.commit(claim, waits_for(await child_of(state, claim), claim))
    return run, item, claim


STATES = ["queued", "delayed", "leased", "parked"]


@pytest.mark.parametrize("what", STATES)
async def test_an_item_that_is_queued_again_replaces_itself_whatever_it_does(
    state: State, what: str
) -> None:
    run, item, before = await in_state(state, what)
    await changed(state, run, enqueue=(item,))
    (claim,) = await claimed(state, WorkKind.TOOL, limit=9)
    assert (claim.lease.item, claim.lease.attempt) == (item, 1)
    if what == "leased":
        assert before is not None
        with pytest.raises(StaleLease):
            await state.runs.commit(await state.runs.refresh(before), tool_result(before))
    assert restarts(await payloads(state, run)) == 0
    await state.runs.commit(claim, tool_result(claim))
    assert (await state.runs.get(TENANT, run.run_id)).step == 2


@pytest.mark.parametrize("what", STATES)
async def test_an_item_that_is_delayed_anew_is_not_claimed(state: State, what: str) -> None:
    run, item, _ = await in_state(state, what)
    later = item.model_copy(update={"delay_ms": LONG_MS})
    await changed(state, run, enqueue=(later,))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    assert not any(load.queued or load.running for load in await state.runs.loads(WorkKind.TOOL))


@pytest.mark.parametrize("what", STATES)
async def test_a_dropped_item_is_gone_whatever_it_does(state: State, what: str) -> None:
    run, item, before = await in_state(state, what)
    await changed(state, run, drop=(item.key,))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    if what == "leased":
        assert before is not None
        assert await state.runs.extend([before.lease], lease_ms=1) == (LeaseState.LOST,)
    assert not any(load.queued or load.running for load in await state.runs.loads(WorkKind.TOOL))
    assert (await state.runs.cancel(TENANT, run.run_id)).state is RunState.CANCELLED


async def test_dropping_what_is_not_there_changes_nothing(state: State) -> None:
    run = await with_tools(state)
    await changed(state, run, drop=(f"{run.run_id}:7:nothing",))
    assert len(await claimed(state, WorkKind.TOOL, limit=9)) == 1


async def test_a_delayed_item_ends_with_its_run(state: State) -> None:
    run = await with_tools(state, gates=APPROVAL, ttl_ms=1)
    await state.runs.cancel(TENANT, run.run_id)
    for _ in range(3):
        await a_moment(state)
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()


async def test_reaping_makes_delayed_items_ready_whose_time_has_come(state: State) -> None:
    await with_tools(state, gates=APPROVAL, ttl_ms=1)

    async def ready() -> int:
        assert await state.runs.reap(limit=9) == 0
        return sum(load.queued for load in await state.runs.loads(WorkKind.TOOL))

    assert await eventually(ready) == 1


async def test_waiting_for_work_ends_when_a_delayed_items_time_has_come(state: State) -> None:
    await with_tools(state, gates=APPROVAL, ttl_ms=30)
    assert await claimed(state, WorkKind.TOOL) == ()

    async def worked() -> tuple[Claim, ...]:
        await state.runs.wait_for_work(WorkKind.TOOL, timeout_s=30)
        return await claimed(state, WorkKind.TOOL)

    assert await eventually(worked)
