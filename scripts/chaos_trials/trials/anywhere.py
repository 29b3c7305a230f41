"""SIGKILL of workers and toolboxes at any instruction."""

from __future__ import annotations

import asyncio

from scripts.chaos_trials.ground import Conditions, Ground, ground
from scripts.chaos_trials.orders import Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plans

AT_ONCE = 60
EVERY_S = (0.05, 0.25)


async def run(conditions: Conditions, outcome: Outcome) -> None:
    times = 40 if conditions.quick else 400
    async with ground(conditions, outcome) as place:
        place.keep(3, 3)
        killing = asyncio.create_task(_kill(place, times))
        try:
            await place.load.keep(AT_ONCE, Plans(place.rng, "any").draw, killing.done)
            killing.result()
        finally:
            killing.cancel()
        await place.finish()
        outcome.times = times
        outcome.figures["items taken up again"] = len(place.outside.recoveries)


async def _kill(place: Ground, times: int) -> None:
    while place.fleet.kills < times:
        await asyncio.sleep(place.rng.uniform(*EVERY_S))
        place.fleet.check()
        place.conditions.progress(f"kill anywhere: {place.fleet.kills} of {times}")
        place.fleet.kill_any(place.rng, Role.WORKER, Role.TOOLBOX)
