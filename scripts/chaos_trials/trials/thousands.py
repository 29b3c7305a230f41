"""Two thousand runs open at once, most of them waiting on tools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from scripts.chaos_trials.callers import Caller, calling
from scripts.chaos_trials.ground import AS_SERVED, Conditions, Ground, ground
from scripts.chaos_trials.load import AGENT, Accepted
from scripts.chaos_trials.orders import TENANTS, Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.outside import Child
from scripts.chaos_trials.plans import Plan

RUNS = 2_000
MOST_MB = 600
WORKERS = 2
LIMITS = {"running_items": RUNS // len(TENANTS)}
CHANNELS = 4  # a connection takes 1,024 streams


async def run(conditions: Conditions, outcome: Outcome) -> None:
    sleep_s = 20 if conditions.quick else 60
    async with (
        ground(conditions, outcome, follow=False, limits=LIMITS, **AS_SERVED) as place,
        calling(place, 1, channels=CHANNELS) as callers,
    ):
        await place.load.prepare()
        # Forks would share their memory with each other and seem smaller than they are.
        children = [
            callers[0].child,
            *[await _start(place, Role.WORKER, 64) for _ in range(WORKERS)],
            await _start(place, Role.TOOLBOX, RUNS),
        ]
        toolbox = children[-1]
        sizes = _Sizes(place, children, toolbox)
        measuring = asyncio.create_task(sizes.measure())
        watching = [
            asyncio.create_task(_ask(place, callers[number % CHANNELS], number, sleep_s))
            for number in range(RUNS)
        ]
        try:
            await asyncio.gather(*watching)
            await place.finish(120.0)
        finally:
            for task in (measuring, *watching):
                task.cancel()
            await asyncio.gather(measuring, *watching, return_exceptions=True)
        outcome.times = 1
        outcome.figures |= {
            "open at once": sizes.open,
            "waiting on tools at once": sizes.waiting,
            "memory of api, workers, toolbox": f"{sizes.most_mb:.0f} MB",
        }
        outcome.expect(sizes.open == RUNS, f"only {sizes.open} of {RUNS} runs were open at once")
        outcome.expect(
            sizes.waiting > RUNS / 2, f"only {sizes.waiting} runs waited on tools at once"
        )
        outcome.expect(
            sizes.most_mb < MOST_MB,
            f"the processes had {sizes.most_mb:.0f} MB together, not below {MOST_MB} MB",
        )


async def _start(place: Ground, role: Role, slots: int) -> Child:
    orders = replace(place.fleet.base, role=role, slots=slots)
    return await place.fleet.start(orders, fresh=True)


async def _ask(place: Ground, caller: Caller, number: int, sleep_s: int) -> None:
    """Starts a run and watches it through the api to its end."""
    plan = Plan(f"thousands-{number}", (("idempotent",),), sleep_ms=sleep_s * 1000)
    tenant = TENANTS[number % len(TENANTS)]
    request = runs_pb2.StartRunRequest(request_id=plan.tag, agent=AGENT, input=plan.text)
    run = (await caller.start(tenant, request)).run
    place.load.accept(Accepted(tenant, run.run_id, run.session_id, plan, time.monotonic()))
    seen = place.load.seen.setdefault(run.run_id, [])
    async for event in caller.watch(tenant, run.run_id, 0):
        if event.WhichOneof("payload") == "snapshot":
            continue
        seen.append(event.seq)
        if event.WhichOneof("payload") == "finished":
            place.load.told_ended.add(run.run_id)


class _Sizes:
    """The most that was seen at once."""

    def __init__(self, place: Ground, children: list[Child], toolbox: Child) -> None:
        self._place = place
        self._children = children
        self._toolbox = toolbox
        self.most_mb = 0.0
        self.open = 0
        self.waiting = 0

    async def measure(self) -> None:
        load = self._place.load
        while True:
            self.most_mb = max(self.most_mb, _memory_mb(child.pid for child in self._children))
            self.open = max(self.open, len(load.accepted) - len(load.told_ended))
            self.waiting = max(self.waiting, len(self._toolbox.held))
            self._place.conditions.progress(
                f"thousands: {self.waiting} waiting, {len(load.told_ended)} ended"
            )
            await asyncio.sleep(0.5)


def _memory_mb(pids: Iterable[int]) -> float:
    """What the processes hold together: shared pages count once (PSS)."""
    total_kb = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        total_kb += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024
