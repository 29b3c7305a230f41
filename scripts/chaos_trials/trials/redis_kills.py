"""Redis killed with SIGKILL under load and started again, with both ways to sync its file."""

from __future__ import annotations

import asyncio
import time

from scripts.chaos_trials.ground import Conditions, Ground, ground
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.outside import Commit
from scripts.chaos_trials.plans import Plans

AT_ONCE = 60


async def everysec(conditions: Conditions, outcome: Outcome) -> None:
    await _run(conditions, outcome, "everysec")


async def always(conditions: Conditions, outcome: Outcome) -> None:
    await _run(conditions, outcome, "always")


async def _run(conditions: Conditions, outcome: Outcome, fsync: str) -> None:
    times = 3 if conditions.quick else 10
    async with ground(conditions, outcome, fsync=fsync) as place:
        place.keep(2, 2)
        killing = asyncio.create_task(_kill(place, times))
        try:
            await place.load.keep(AT_ONCE, Plans(place.rng, "redis").draw, killing.done)
            killing.result()
        finally:
            killing.cancel()
        await place.finish()
        outcome.kills = outcome.times
        outcome.figures["acknowledged commits"] = sum(_done(place.outside.commits))


async def _kill(place: Ground, times: int) -> None:
    outcome = place.outcome
    for number in range(times):
        await asyncio.sleep(place.rng.uniform(0.5, 1.5))
        place.conditions.progress(f"{outcome.name}: {number} of {times}")
        await place.server.kill()
        await asyncio.sleep(place.rng.uniform(0.0, 1.0))
        await place.server.start()
        began = time.monotonic()
        await place.outside.a_commit()
        outcome.recovery_s = max(outcome.recovery_s or 0.0, time.monotonic() - began)
        outcome.times += 1


def _done(commits: list[Commit]) -> list[bool]:
    return [commit.outcome == "done" for commit in commits]
