"""SIGSTOP past the lease, then SIGCONT: the late process may write nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.domain.interrupts import Answered
from scripts.chaos_trials.ground import LEASE_S, Conditions, Ground, ground
from scripts.chaos_trials.orders import Action, Orders, Point, Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.outside import Ending
from scripts.chaos_trials.plans import Plans

AT_ONCE = 16  # so that nobody waits for a slot
SLOW_MS = 200
PROCESSES = 3  # of each role
_LIMIT_S = LEASE_S + 6.0
_AFTERWARDS_S = 0.3  # for what the late process still tries
_POINTS = (Point.CLAIMED, Point.AFTER_EFFECT, Point.BEFORE_COMMIT)


async def run(conditions: Conditions, outcome: Outcome) -> None:
    wanted = 10 if conditions.quick else 60
    # Slow enough for the late one to come while its successor is at it.
    async with ground(conditions, outcome, pace_ms=SLOW_MS, slots=16) as place:
        # A stopped process may still do what was not done when a person looked.
        place.load.not_done = Answered(content="not done", ok=False)
        late = _Late(place)
        for role in (Role.WORKER, Role.TOOLBOX):
            # One of each role is never stopped, so that there is always one to take over.
            place.fleet.keep(role, iter(()))
            for _ in range(PROCESSES - 1):
                place.fleet.keep(role, _stops(place, role))

        def all_done() -> bool:
            conditions.progress(f"pause: {late.times} of {wanted}")
            place.fleet.check()
            late.handle()
            return late.times >= wanted

        await place.load.keep(
            AT_ONCE, Plans(place.rng, "pause", sleeps_ms=(SLOW_MS,)).draw, all_done
        )
        await late.end()
        await place.finish()
        outcome.times = late.times
        outcome.kills = 0
        outcome.figures["late commits refused or given up"] = late.refused
        outcome.expect(late.refused > 0, "no late commit was even tried")


def _stops(place: Ground, role: Role) -> Iterator[Orders]:
    points = (*_POINTS, Point.MID_TEXT) if role is Role.WORKER else (*_POINTS, Point.BEFORE_EFFECT)
    for point in itertools.cycle(points):
        yield replace(
            place.fleet.base,
            role=role,
            point=point,
            action=Action.STOP,
            nth=place.rng.randint(1, 8),
        )


class _Late:
    """Wakes stopped processes when others have taken over, and looks at what they do then."""

    def __init__(self, place: Ground) -> None:
        self._place = place
        self._handled = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.times = 0
        self.refused = 0

    def handle(self) -> None:
        endings = self._place.outside.endings
        for ending in endings[self._handled :]:
            self._tasks.append(asyncio.create_task(self._wake(ending)))
        self._handled = len(endings)

    async def end(self) -> None:
        self.handle()
        await asyncio.gather(*self._tasks)

    async def _wake(self, stopped: Ending) -> None:
        outside, outcome = self._place.outside, self._place.outcome
        child, since = outside.children[stopped.pid], time.monotonic()
        before = {item: outside.claims[item] for item in child.held}
        taken: set[str] = set()
        awaited = set(stopped.items) & set(before) or set(before)
        while not taken & awaited and time.monotonic() < since + _LIMIT_S:
            await asyncio.sleep(0.02)
            taken = {item for item, count in before.items() if outside.claims[item] > count}
        first = len(outside.commits)
        self._place.fleet.resume(child)
        await asyncio.sleep(_AFTERWARDS_S)
        tried = [c for c in outside.commits[first:] if c.pid == stopped.pid and c.item in taken]
        for commit in tried:
            outcome.expect(
                commit.outcome != "done",
                f"{commit.item} was committed by a process that had been stopped past its lease",
            )
        # A process that sees how late it is gives up what it has just sent.
        self.refused += sum(c.outcome in ("STALE_LEASE", "cancelled") for c in tried)
        self.times += bool(taken)
        self._place.fleet.kill(child)
