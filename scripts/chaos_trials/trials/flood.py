"""One tenant submits ten thousand runs; another's waiting time, and the shares of equals."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from orchestrator.domain.events import RunEvent, StateChanged
from orchestrator.domain.runs import RunState
from scripts.chaos_trials.ground import AS_SERVED, Conditions, Ground, ground
from scripts.chaos_trials.load import Accepted
from scripts.chaos_trials.orders import TENANTS
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plan

FLOOD = 10_000
LIMITS = {"live_runs": 2 * FLOOD}
SUBMITTING_AT_ONCE = 16
QUIET_EVERY_S = 0.025
LEAST_SAMPLES = 200
SLOTS = 16
PACE_MS = 20.0  # of the model
WORST_RATIO, WORST_MS = 1.5, 50.0
LEAST_INDEX = 0.95
LOUD, QUIET = TENANTS[0], TENANTS[1]


async def run(conditions: Conditions, outcome: Outcome) -> None:
    async with ground(
        conditions, outcome, follow=False, limits=LIMITS, slots=SLOTS, pace_ms=PACE_MS, **AS_SERVED
    ) as place:
        place.keep(2, 0)
        await place.started(2)
        unloaded = await _ask_quietly(place, "unloaded", itertools.count(1))
        flood = asyncio.create_task(_flood(place))
        try:
            loaded = await _ask_quietly(place, "loaded", _while_open(place, flood))
            await flood
        finally:
            flood.cancel()
        await place.finish(120.0)
        before, during = await _p99_ms(place, unloaded), await _p99_ms(place, loaded)
        limit = max(WORST_RATIO * before, WORST_MS)
        outcome.times = FLOOD
        outcome.figures |= {
            "waiting p99 unloaded": f"{before:.0f} ms",
            "waiting p99 in the flood": f"{during:.0f} ms",
            "samples": len(loaded),
        }
        outcome.expect(
            during <= limit,
            f"the quiet tenant waited {during:.0f} ms (p99) in the flood, alone {before:.0f} ms: "
            f"the limit is {limit:.0f} ms",
        )
        outcome.expect(
            len(loaded) >= LEAST_SAMPLES, f"the flood was over after {len(loaded)} samples"
        )


async def _flood(place: Ground) -> None:
    numbers = iter(range(FLOOD))

    async def submit_some() -> None:
        for number in numbers:
            await place.load.submit(LOUD, Plan(f"flood-{number}", words=1))
            place.conditions.progress(f"flood: {number} of {FLOOD} submitted")

    await asyncio.gather(*(submit_some() for _ in range(SUBMITTING_AT_ONCE)))


def _while_open(place: Ground, flood: asyncio.Task[None]) -> itertools.takewhile[int]:
    """Numbers, as long as the flood has a backlog."""

    def backlog(_: int) -> bool:
        finished = len({c.item for c in place.outside.commits if c.outcome == "done"})
        return not flood.done() or finished < len(place.load.accepted) - 4 * SLOTS

    return itertools.takewhile(backlog, itertools.count(1))


async def _ask_quietly(
    place: Ground, name: str, numbers: itertools.takewhile[int] | itertools.count[int]
) -> list[Accepted]:
    runs: list[Accepted] = []
    for number in numbers:
        if name == "unloaded" and number > LEAST_SAMPLES:
            break
        runs.append(await place.load.submit(QUIET, Plan(f"{name}-{number}", words=1)))
        await asyncio.sleep(QUIET_EVERY_S)
    return runs


async def _p99_ms(place: Ground, runs: Sequence[Accepted]) -> float:
    """Of the times from QUEUED to RUNNING, by the store's clock."""
    waits = [
        _waited_ms(await place.state.feed.read(run.tenant, run.run_id, after_seq=0, limit=10))
        for run in runs
    ]
    return statistics.quantiles(waits, n=100)[98]


def _waited_ms(events: Sequence[RunEvent]) -> float:
    at = {e.payload.state: e.time_ms for e in events if isinstance(e.payload, StateChanged)}
    return at[RunState.RUNNING] - at[RunState.QUEUED]


async def shares(conditions: Conditions, outcome: Outcome) -> None:
    """Equal tenants with a backlog, whose runs differ in length eightfold."""
    tokens_each = 6_000 if conditions.quick else 30_000
    async with ground(
        conditions, outcome, follow=False, slots=SLOTS, pace_ms=PACE_MS, **AS_SERVED
    ) as place:
        words = {tenant: 20 * 2 ** (n % 4) for n, tenant in enumerate(TENANTS)}
        plans = [
            (tenant, Plan(f"share-{tenant}-{number}", words=length))
            for tenant, length in words.items()
            for number in range(tokens_each // length)
        ]
        place.rng.shuffle(plans)
        for start in range(0, len(plans), SUBMITTING_AT_ONCE):
            some = plans[start : start + SUBMITTING_AT_ONCE]
            await asyncio.gather(*(place.load.submit(tenant, plan) for tenant, plan in some))
        began = time.monotonic()
        place.keep(2, 0)
        await place.finish(120.0)
        served: Counter[str] = Counter()
        half = sum(c.tokens for c in place.outside.commits) / 2
        for commit in sorted(place.outside.commits, key=lambda c: c.at):
            if sum(served.values()) < half:  # later some have no backlog
                served[place.load.accepted[commit.item.partition(":")[0]].tenant] += commit.tokens
        index = jain([served[tenant] for tenant in TENANTS])
        outcome.times = len(TENANTS)
        outcome.figures |= {
            "Jain's index": index,
            "least served": min(served.values()),
            "most served": max(served.values()),
            "steps/s": len(plans) / (time.monotonic() - began),
        }
        outcome.expect(
            index >= LEAST_INDEX, f"Jain's index of service is {index:.3f}, below {LEAST_INDEX}"
        )


def jain(service: Sequence[float]) -> float:
    """1 for equal shares, 1/n when one has all. R. Jain et al., DEC-TR-301, 1984."""
    squares = sum(each * each for each in service)
    return sum(service) ** 2 / (len(service) * squares) if squares else 0.0
