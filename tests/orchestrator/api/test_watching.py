from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.api.watching import FROM_NOW, Watched, watch
from orchestrator.domain.errors import InvalidInput, NotFound, OutOfRange
from orchestrator.domain.events import RunEvent, TextDelta
from orchestrator.domain.snapshot import Snapshot
from orchestrator.ports.state import EventFeed, Limits, State
from tests.orchestrator.adapters.state.given import TENANT, answer, claim_one, submitted

KEPT = 5


@pytest.fixture
async def state() -> AsyncIterator[State]:
    """A state that keeps a run's last five events."""
    async with open_memory_state(limits=Limits(events=KEPT)) as opened:
        yield opened


async def finished_run(state: State, deltas: int) -> str:
    """Its events: queued, running, the deltas, finished."""
    run = await submitted(state)
    claim = await claim_one(state)
    for i in range(deltas):
        await state.runs.emit(claim.lease, [TextDelta(text=str(i))])
    await state.runs.commit(claim, answer(claim, "done"))
    return run.run_id


async def seen(state: State, run_id: str, after_seq: int) -> list[Watched]:
    stream = watch(state.runs, state.feed, TENANT, run_id, after_seq=after_seq)
    async with aclosing(stream) as items:
        return [item async for item in items]


def seqs(items: list[Watched]) -> list[int]:
    return [item.seq for item in items if isinstance(item, RunEvent)]


def snapshot(items: list[Watched]) -> Snapshot:
    assert isinstance(items[0], Snapshot)
    return items[0]


async def test_events_that_are_gone_are_out_of_range_and_the_earliest_is_named(
    state: State,
) -> None:
    run_id = await finished_run(state, deltas=7)  # ten events, of which 6 to 10 are left
    for after_seq in (0, 3, 4):
        with pytest.raises(OutOfRange) as error:
            await seen(state, run_id, after_seq)
        assert error.value.reason == "EVENTS_TRIMMED"
        assert error.value.metadata == {"earliest_seq": "6"}


@pytest.mark.parametrize("after_seq", range(5, 10))
async def test_a_watcher_resumes_although_earlier_events_are_gone(
    state: State, after_seq: int
) -> None:
    run_id = await finished_run(state, deltas=7)
    items = await seen(state, run_id, after_seq)
    assert snapshot(items).progress.seq == after_seq
    assert seqs(items) == list(range(after_seq + 1, 11))


async def test_a_watcher_from_now_needs_no_event_that_is_gone(state: State) -> None:
    run_id = await finished_run(state, deltas=7)
    (only,) = await seen(state, run_id, FROM_NOW)
    assert isinstance(only, Snapshot)
    assert (only.progress.seq, only.run.result) == (10, "done")


class OnlyReading(EventFeed):
    """A feed that nobody may follow."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed

    async def read(
        self, tenant: str, run_id: str, *, after_seq: int, limit: int
    ) -> tuple[RunEvent, ...]:
        return await self._feed.read(tenant, run_id, after_seq=after_seq, limit=limit)

    def follow(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncIterator[RunEvent]:
        raise AssertionError("nothing follows the last event")


async def test_a_watcher_that_has_seen_the_last_event_follows_nothing(state: State) -> None:
    run_id = await finished_run(state, deltas=0)
    feed = OnlyReading(state.feed)
    for after_seq in (3, FROM_NOW):
        items = [
            item async for item in watch(state.runs, feed, TENANT, run_id, after_seq=after_seq)
        ]
        assert snapshot(items).progress.finished
        assert seqs(items) == []


async def test_a_watcher_resumes_after_more_events_than_are_read_at_once() -> None:
    async with open_memory_state() as state:
        run_id = await finished_run(state, deltas=1200)
        items = await seen(state, run_id, 1102)
        assert snapshot(items).progress.text == "".join(str(i) for i in range(1100))
        assert seqs(items) == list(range(1103, 1204))


async def test_what_can_not_be_watched_is_refused(state: State) -> None:
    run_id = await finished_run(state, deltas=0)
    with pytest.raises(InvalidInput):
        await seen(state, run_id, -2)
    with pytest.raises(NotFound):
        await seen(state, "run_00_0000000000000099", 0)
    with pytest.raises(OutOfRange) as error:
        await seen(state, run_id, 4)
    assert error.value.reason == "SEQ_NOT_REACHED"
