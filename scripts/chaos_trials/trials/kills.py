"""SIGKILL of workers and toolboxes at every point of an item's way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from scripts.chaos_trials.ground import Conditions, ground
from scripts.chaos_trials.orders import Orders, Point, Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plans

PROCESSES = 3  # of each role
AT_ONCE = 60


async def run(conditions: Conditions, outcome: Outcome) -> None:
    each = 3 if conditions.quick else 50
    async with ground(conditions, outcome) as place:
        wanted: dict[Role, list[Orders]] = {}
        for role in (Role.WORKER, Role.TOOLBOX):
            points = [p for p in Point if role is Role.WORKER or p is not Point.MID_TEXT]
            plans = [
                replace(place.fleet.base, role=role, point=point, nth=place.rng.randint(1, 8))
                for point in points
                for _ in range(each)
            ]
            place.rng.shuffle(plans)
            wanted[role] = plans
            shared = iter(plans)
            for _ in range(PROCESSES):
                place.fleet.keep(role, shared)
        total = sum(map(len, wanted.values()))
        drawn = Plans(place.rng, "kill")

        def all_done() -> bool:
            done = len(place.outside.endings)
            conditions.progress(f"kill: {done} of {total}, {len(place.load.accepted)} runs")
            place.fleet.check()
            return done >= total

        await place.load.keep(AT_ONCE, drawn.draw, all_done)
        await place.finish()
        ends = Counter((e.role, e.point) for e in place.outside.endings)
        for role, plans in wanted.items():
            for point in {p.point for p in plans if p.point}:
                got = ends[role, point.value]
                outcome.expect(
                    got >= each, f"only {got} of {each} kills of a {role.value} {point.value}"
                )
        outcome.times = outcome.kills = total
        outcome.figures["items taken up again"] = len(place.outside.recoveries)
        outcome.figures["cut-off calls a person answered"] = len(place.load.answered)
        outcome.figures["repeated idempotent effects"] = place.outside.ledger.repeats
