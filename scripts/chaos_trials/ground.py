"""Where a trial takes place: a Redis of its own, the ledger, processes, and a load."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.ports.state import Limits, State
from orchestrator.redis_server import RedisServer, ServerProgram, free_port
from scripts.chaos_trials.fleet import Fleet, running
from scripts.chaos_trials.invariants import check
from scripts.chaos_trials.load import Load
from scripts.chaos_trials.orders import Breakage, Orders, Role
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.outside import Outside

LEASE_S = 1.0
AS_SERVED: dict[str, Any] = {"lease_s": 10.0, "shards": 1}
"""What the service has when nobody sets it; else trials have short leases and several shards."""
RECOVERY_S = LEASE_S + 2.0
MAX_ATTEMPTS = 40  # so that no run fails of being killed often
_SAY_EVERY_S = 5.0


@dataclass(slots=True)
class Conditions:
    """How the trials are done: `quick` is the form that the tests run."""

    quick: bool
    seed: int
    folder: Path
    program: ServerProgram
    say: Callable[[str], None]
    breakage: Breakage = Breakage.NONE
    _said: float = field(default_factory=time.monotonic)

    def progress(self, text: str) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY_S:
            self._said = time.monotonic()
            self.say(text)

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - a draw of trials


@dataclass(slots=True)
class Ground:
    conditions: Conditions
    outcome: Outcome
    server: RedisServer
    outside: Outside
    state: State
    load: Load
    fleet: Fleet
    rng: random.Random

    def keep(self, workers: int, toolboxes: int, **how: Any) -> None:
        for role, count in ((Role.WORKER, workers), (Role.TOOLBOX, toolboxes)):
            for _ in range(count):
                self.fleet.keep(role, iter(()), **how)

    async def started(self, count: int) -> None:
        """Waits until so many processes work."""
        while len(self.fleet.living(Role.WORKER, Role.TOOLBOX)) < count:
            self.fleet.check()
            self.outside.changed.clear()
            await self.outside.changed.wait()

    async def finish(self, limit_s: float = 60.0) -> None:
        """Waits for all runs and checks every invariant."""
        outcome = self.outcome
        await self.load.finish(limit_s)
        self.fleet.check()
        findings = await check(self.load, self.outside, self.server.url, self.fleet.base.shards)
        outcome.problems += findings.sentences
        outcome.runs += len(self.load.accepted)
        outcome.kills += self.fleet.kills
        if self.outside.recoveries:
            worst, item = max(self.outside.recoveries)
            outcome.recovery_s = max(worst, outcome.recovery_s or 0.0)
            outcome.expect(
                worst <= RECOVERY_S,
                f"{item} was taken up {worst:.2f} s after its worker died, not within "
                f"{RECOVERY_S:.0f} s",
            )


@asynccontextmanager
async def ground(
    conditions: Conditions,
    outcome: Outcome,
    *,
    fsync: str = "everysec",
    follow: bool = True,
    **orders: Any,
) -> AsyncIterator[Ground]:
    """Opens everything of one trial. `orders` are those of its processes."""
    name = f"{outcome.name} {fsync}".replace(" ", "_")
    folder = conditions.folder / name
    rng = conditions.rng(name)
    async with (
        RedisServer(conditions.program, port=free_port(), folder=folder, fsync=fsync) as server,
        Outside() as outside,
    ):
        base = Orders(
            role=Role.WORKER,
            redis=server.url,
            outside=outside.port,
            log=str(folder / "processes.log"),
            breakage=conditions.breakage,
            seed=conditions.seed,
            limits={"max_attempts": MAX_ATTEMPTS, **orders.pop("limits", {})},
            **{"lease_s": LEASE_S, **orders},
        )
        limits = Limits(**base.limits)
        async with (
            open_redis_state(server.url, shards=base.shards, limits=limits) as state,
            running(outside, base) as fleet,
        ):
            load = Load(state, outside, rng, follow)
            try:
                yield Ground(conditions, outcome, server, outside, state, load, fleet, rng)
            finally:
                await load.end()
