"""A session of five hundred turns: what a commit writes does not grow with the history."""

from __future__ import annotations

import statistics
from typing import Any, cast

from redis.asyncio import Redis

from scripts.chaos_trials.ground import AS_SERVED, Conditions, ground
from scripts.chaos_trials.orders import TENANTS
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plan

TURNS = 500
COMPARED = 50
MOST_GROWTH = 1.05  # numbers get longer, too
WRITTEN, SENT = "aof_current_size", "total_net_input_bytes"


async def run(conditions: Conditions, outcome: Outcome) -> None:
    async with ground(conditions, outcome, follow=False, pace_ms=0.0, **AS_SERVED) as place:
        place.keep(1, 1)
        redis = cast(Any, Redis.from_url(place.server.url))
        sizes: dict[str, list[float]] = {WRITTEN: [], SENT: []}
        session_id = ""
        try:
            before = await redis.info()
            for number in range(TURNS):
                # Names of one length: a turn's own size is the same.
                plan = Plan(f"turn-{number:04}", (("idempotent",),), words=5)
                run_ = await place.load.submit(TENANTS[0], plan, session_id=session_id)
                session_id = run_.session_id
                async for _ in place.state.feed.follow(TENANTS[0], run_.run_id, after_seq=0):
                    pass
                now = await redis.info()
                for name, seen in sizes.items():
                    seen.append(now[name] - before[name])
                before = now
                conditions.progress(f"session: {number} of {TURNS} turns")
        finally:
            await redis.aclose()
        await place.finish()
        outcome.times = TURNS
        commits = sum(c.outcome == "done" for c in place.outside.commits) / TURNS
        for name, seen in sizes.items():
            first = statistics.fmean(seen[1 : COMPARED + 1]) / commits
            last = statistics.fmean(seen[-COMPARED:]) / commits
            outcome.figures[f"{name} a commit"] = f"{first:.0f} then {last:.0f} bytes"
            if name == WRITTEN:
                outcome.expect(
                    last <= MOST_GROWTH * first,
                    f"a commit wrote {first:.0f} bytes at first and {last:.0f} after {TURNS} turns",
                )
