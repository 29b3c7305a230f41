from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.errors import OutOfRange
from orchestrator.domain.events import RunEvent, TextDelta
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import TENANT, answer, claim_one, submitted


async def watched(state: State, run_id: str, after_seq: int = 0) -> list[RunEvent]:
    async with asyncio.timeout(30):
        return [e async for e in state.feed.follow(TENANT, run_id, after_seq=after_seq)]


def numbers(events: list[RunEvent]) -> list[int]:
    return [e.seq for e in events]


async def finished(state: State, deltas: int = 3) -> str:
    run = await submitted(state)
    claim = await claim_one(state)
    for number in range(deltas):
        await state.runs.emit(claim.lease, [TextDelta(text=str(number))])
    await state.runs.commit(claim, answer(claim))
    return run.run_id


async def test_stored_events_are_read_in_parts(state: State) -> None:
    run_id = await finished(state)
    part = await state.feed.read(TENANT, run_id, after_seq=2, limit=3)
    assert numbers(list(part)) == [3, 4, 5]
    assert {(e.run_id, e.step, e.attempt) for e in part} == {(run_id, 1, 1)}
    assert await state.feed.read(TENANT, run_id, after_seq=6, limit=3) == ()


async def test_following_a_run_that_ended_gives_the_rest_and_ends(state: State) -> None:
    run_id = await finished(state)
    assert numbers(await watched(state, run_id)) == [1, 2, 3, 4, 5, 6]
    assert numbers(await watched(state, run_id, after_seq=4)) == [5, 6]
    assert numbers(await watched(state, run_id, after_seq=6)) == []


async def test_watchers_from_any_moment_see_every_event_once_in_order(state: State) -> None:
    run = await submitted(state)
    watchers = [asyncio.ensure_future(watched(state, run.run_id))]
    claim = await claim_one(state)
    for number in range(40):
        await state.runs.emit(claim.lease, [TextDelta(text=f"{number}{part}") for part in "ab"])
        if number % 10 == 5:
            watchers.append(asyncio.ensure_future(watched(state, run.run_id, number)))
    await state.runs.commit(claim, answer(claim))
    whole, *parts = await asyncio.gather(*watchers)
    assert numbers(whole) == list(range(1, 84))
    assert whole[-1].terminal
    assert [p[-1].seq for p in parts] == [83] * 4
    assert all(part == whole[part[0].seq - 1 :] for part in parts)


async def test_a_watcher_that_pauses_while_much_happens_misses_nothing(state: State) -> None:
    run = await submitted(state)
    feed = state.feed.follow(TENANT, run.run_id, after_seq=0)
    claim = await claim_one(state)
    seen = [(await anext(feed)).seq, (await anext(feed)).seq]
    following = asyncio.ensure_future(anext(feed))
    for size in (1, *[20_000] * 30):  # more than is kept for one that does not read
        await state.runs.emit(claim.lease, [TextDelta(text="x" * size)])
        if size == 1:
            seen.append((await following).seq)
    claim = await state.runs.refresh(claim)
    await state.runs.commit(claim, answer(claim))
    async with asyncio.timeout(30):
        seen += [event.seq async for event in feed]
    assert seen == list(range(1, 35))


async def test_events_that_are_gone_are_out_of_range_with_the_earliest(
    open_state: Open,
) -> None:
    async with open_state(Limits(events=4)) as state:
        run_id = await finished(state, deltas=5)
        with pytest.raises(OutOfRange) as caught:
            await state.feed.read(TENANT, run_id, after_seq=0, limit=9)
        assert caught.value.reason == "EVENTS_TRIMMED"
        assert caught.value.metadata == {"earliest_seq": "5"}
        assert numbers(await watched(state, run_id, after_seq=4)) == [5, 6, 7, 8]


async def test_leaving_a_watch_early_harms_nobody(state: State) -> None:
    run = await submitted(state)
    feed = state.feed.follow(TENANT, run.run_id, after_seq=0)
    assert (await anext(feed)).seq == 1
    await feed.aclose()  # type: ignore[attr-defined]
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    assert numbers(await watched(state, run.run_id)) == [1, 2, 3]
