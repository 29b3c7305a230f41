"""A line to Redis that delays, cuts, resets and loses replies, for 5% of the calls."""

from __future__ import annotations

import time
from dataclasses import replace

from orchestrator.adapters.redis_state import open_redis_state
from scripts.chaos_trials.ground import Conditions, ground
from scripts.chaos_trials.load import Load
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plans
from scripts.chaos_trials.proxy import Proxy

SHARE = 0.05
AT_ONCE = 60
DEADLINE_S = 13.0
"""An operation is tried for 5 s; its last try may wait 2 s for a connection and 5 s for a reply."""


async def run(conditions: Conditions, outcome: Outcome) -> None:
    seconds = 10.0 if conditions.quick else 90.0
    async with (
        ground(conditions, outcome) as place,
        Proxy(place.server.url, place.rng, SHARE) as proxy,
        open_redis_state(proxy.url, shards=place.fleet.base.shards) as state,
    ):
        place.fleet.base = replace(place.fleet.base, redis=proxy.url)
        place.keep(2, 2)
        direct, through = place.load, Load(state, place.outside, place.rng)
        until = time.monotonic() + seconds

        def over() -> bool:
            conditions.progress(f"cut: {sum(proxy.faults.values())} faults")
            return time.monotonic() > until

        try:
            await through.keep(AT_ONCE, Plans(place.rng, "cut").draw, over)
            await through.finish(60.0)
            proxy.heal()
            direct.accepted, direct.seen = through.accepted, through.seen
            direct.answered = through.answered
            await place.finish()
        finally:
            await through.end()
        outcome.times = sum(proxy.faults.values())
        outcome.figures |= {"calls": proxy.calls, **proxy.faults}
        waits = {**place.outside.slowest, "submit": through.slowest_s}
        for operation, took in waits.items():
            outcome.expect(
                took <= DEADLINE_S,
                f"a {operation} took {took:.1f} s, past its deadline of {DEADLINE_S:.0f} s",
            )
        outcome.figures["slowest operation"] = f"{max(waits.values()):.1f} s"
        outcome.expect(outcome.times > 0, "the proxy made no fault")
