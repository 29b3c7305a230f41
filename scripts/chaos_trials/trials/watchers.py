"""Watchers through several api processes that die, come back elsewhere, and are slow."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from enum import Enum

import grpc

from scripts.chaos_trials.callers import Caller, call
from scripts.chaos_trials.ground import Conditions, Ground, ground
from scripts.chaos_trials.load import Accepted
from scripts.chaos_trials.orders import TENANTS, Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plan, Plans

APIS = 2
AT_ONCE = 20
_AGAIN_S = 0.1
_RESUMABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}


class Habit(Enum):
    STEADY = "steady"
    HOPPING = "hopping"  # leaves after some events and resumes on any api process
    SLOW = "slow"
    LATE = "late"  # comes when the run has ended


async def run(conditions: Conditions, outcome: Outcome) -> None:
    runs, api_kills = (60, 2) if conditions.quick else (600, 12)
    async with (
        ground(conditions, outcome, pace_ms=10.0) as place,
        AsyncExitStack() as opened,
    ):
        await place.load.prepare()
        apis = _Apis(place, opened)
        for _ in range(APIS):
            await apis.start_one()
        place.keep(2, 2)
        drawn = _long_and_short(place)
        for start in range(0, runs, AT_ONCE):
            accepted = await asyncio.gather(
                *(place.load.submit(place.rng.choice(TENANTS), next(drawn)) for _ in range(AT_ONCE))
            )
            watching = [_watch(place, apis, run_, habit) for run_ in accepted for habit in Habit]
            harm = [apis.kill_one()] if start < api_kills * AT_ONCE else []
            place.fleet.kill_any(place.rng, Role.WORKER)
            await asyncio.gather(*watching, *harm)
            outcome.times += len(watching)
            conditions.progress(f"watchers: {start + AT_ONCE} of {runs} runs watched")
        await place.finish()
        outcome.figures |= {"resumed": apis.resumed, "api processes killed": apis.killed}


def _long_and_short(place: Ground) -> itertools.chain[Plan]:
    """Some runs have more events than a watcher is kept."""
    plans = Plans(place.rng, "watch")
    return itertools.chain.from_iterable(
        (Plan(f"long-{number}", (("pure",),), words=400), *(plans.draw() for _ in range(9)))
        for number in itertools.count()
    )


class _Apis:
    """The api processes that live; one that was killed is replaced."""

    def __init__(self, place: Ground, opened: AsyncExitStack) -> None:
        self._place = place
        self._opened = opened
        self._callers: list[Caller] = []
        self.resumed = 0
        self.killed = 0

    def any(self) -> Caller:
        return self._place.rng.choice(self._callers)

    async def start_one(self) -> None:
        self._callers += await call(self._place, self._opened)

    async def kill_one(self) -> None:
        await asyncio.sleep(self._place.rng.uniform(0.05, 0.3))
        self.killed += 1
        self._place.fleet.kill(self._callers.pop(0).child)
        await self.start_one()


async def _watch(place: Ground, apis: _Apis, run_: Accepted, habit: Habit) -> None:
    seen: list[int] = []
    if habit is Habit.LATE:
        while run_.ended is None:
            await place.load.look()
            await asyncio.sleep(_AGAIN_S)
    while True:
        try:
            if await _watch_once(place, apis.any(), run_, habit, seen):
                break
        except grpc.aio.AioRpcError as error:
            if error.code() not in _RESUMABLE:
                raise
            await asyncio.sleep(_AGAIN_S)
        apis.resumed += 1
    expected = list(range(1, len(seen) + 1))
    place.outcome.expect(
        seen == expected, f"a {habit.value} watcher of {run_.run_id} saw {seen[:20]}…"
    )
    place.load.ends_at.setdefault(run_.run_id, set()).add(len(seen))


async def _watch_once(
    place: Ground, caller: Caller, run_: Accepted, habit: Habit, seen: list[int]
) -> bool:
    """Watches until the end (True), or until the habit says to leave."""
    after = seen[-1] if seen else 0
    stream = caller.watch(run_.tenant, run_.run_id, after)
    leave = place.rng.randint(1, 8) if habit is Habit.HOPPING else 0
    try:
        async for event in stream:
            if event.WhichOneof("payload") == "snapshot":
                place.outcome.expect(
                    event.seq == after, f"a snapshot after {after} has the number {event.seq}"
                )
                continue
            seen.append(event.seq)
            if event.WhichOneof("payload") == "finished":
                return True
            if habit is Habit.SLOW:
                await asyncio.sleep(0.005)
            if leave and len(seen) >= after + leave:
                return False
    finally:
        stream.cancel()
    return False
