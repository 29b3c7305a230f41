"""Who waits how long while one tenant floods: the fair queue against first come, first served.

One tenant submits a flood; then seven others submit a little each; then the workers start. For the
comparison the same runs are submitted in the same order by one tenant, within which the order of
arrival holds. Jain's index is that of the runs done of each tenant, all with equal weights, at the
moment when the first of them has nothing left.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.runs import Run, RunState
from orchestrator.ports.state import State
from orchestrator.redis_server import RedisServer, find_program, free_port
from scripts.benchmarks.benchmark import ROOT, Bench, alternate
from scripts.benchmarks.outcome import CannotRun, Outcome, Ratio, Series, WrongAnswer
from scripts.step_bench.load import submit
from scripts.step_bench.scene import AGENT, SPEC
from scripts.step_bench.stack import process

FAIR, FIFO = "fair queue", "first come, first served"
QUIET = tuple(f"quiet-{number}" for number in range(7))
LOUD, ONLY = "loud", "everybody"
_LIMIT_S, _LOOK_S = 120.0, 0.2


@dataclass(frozen=True, slots=True)
class Measured:
    """Waits are from when the workers began until a run had ended."""

    quiet_p99_ms: float
    loud_p50_ms: float
    jain: float


async def run(bench: Bench) -> Outcome:
    flood, little = bench.pick((1500, 60), (6000, 200))
    owners = [LOUD] * flood + [tenant for _ in range(little) for tenant in QUIET]
    folders = count()

    def way(*, fair: bool) -> Callable[[], Awaitable[Measured]]:
        async def measure() -> Measured:
            place = bench.folder / str(next(folders))
            program = find_program(extracted=ROOT / ".fleet" / "redis")
            async with AsyncExitStack() as up:
                server = RedisServer(program, port=free_port(), folder=place, fsync="everysec")
                redis = await up.enter_async_context(server)
                state = await up.enter_async_context(open_redis_state(redis.url))
                runs = await _submit_all(state, owners, fair=fair)
                began_ms = time.time() * 1000
                for role in ("worker", "toolbox"):
                    await up.enter_async_context(process(role, redis.url))
                ended = await _ended(state, runs)
            return _measured(owners, [one.finished_ms - began_ms for one in ended])

        return measure

    ways = {FAIR: way(fair=True), FIFO: way(fair=False)}
    found = await alternate(bench, bench.pick(2, 5), ways, warm_up=0)
    return _outcome(found, {"flood": flood, "of each other": little, "others": len(QUIET)})


async def _submit_all(state: State, owners: Sequence[str], *, fair: bool) -> list[Run]:
    for tenant in (LOUD, *QUIET, ONLY):
        await state.agents.put(tenant, AGENT, SPEC)
    return [
        await submit(state, owner if fair else ONLY, number) for number, owner in enumerate(owners)
    ]


async def _ended(state: State, runs: Sequence[Run]) -> list[Run]:
    """Returns the runs as they ended, in the order they were submitted."""
    deadline = time.monotonic() + _LIMIT_S
    ended: dict[int, Run] = {}
    while len(ended) < len(runs):
        if time.monotonic() > deadline:
            raise CannotRun(f"{len(runs) - len(ended)} of {len(runs)} runs have not ended")
        await asyncio.sleep(_LOOK_S)
        left = [number for number in range(len(runs)) if number not in ended]
        found = await asyncio.gather(
            *(state.runs.get(runs[number].tenant, runs[number].run_id) for number in left)
        )
        ended |= {n: one for n, one in zip(left, found, strict=True) if one.state.terminal}
    wrong = sum(one.state is not RunState.COMPLETED for one in ended.values())
    if wrong:
        raise WrongAnswer(f"{wrong} of {len(runs)} runs failed")
    return [ended[number] for number in range(len(runs))]


def _measured(owners: Sequence[str], waits_ms: Sequence[float]) -> Measured:
    by_owner: dict[str, list[float]] = {}
    for owner, wait in zip(owners, waits_ms, strict=True):
        by_owner.setdefault(owner, []).append(wait)
    quiet = sorted(wait for tenant in QUIET for wait in by_owner[tenant])
    window = min(max(waits) for waits in by_owner.values())
    done = Counter(owner for owner, wait in zip(owners, waits_ms, strict=True) if wait <= window)
    shares = [done[owner] for owner in by_owner]
    return Measured(quiet[int(len(quiet) * 0.99)], statistics.median(by_owner[LOUD]), jain(shares))


def jain(shares: Sequence[float]) -> float:
    """1 when all have the same, 1/n when one has it all."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _outcome(found: dict[str, list[Measured]], settings: dict[str, int]) -> Outcome:
    series = [
        Series(
            f"{name}, {who}",
            "runs",
            latencies_ms=[getattr(one, field) for one in rounds],
        )
        for name, rounds in found.items()
        for who, field in (("quiet tenants' p99", "quiet_p99_ms"), ("loud p50", "loud_p50_ms"))
    ]
    pairs = list(zip(found[FAIR], found[FIFO], strict=True))
    waits = [fifo.quiet_p99_ms / fair.quiet_p99_ms for fair, fifo in pairs]
    return Outcome(
        series,
        [
            Ratio("quiet_wait", "times longer that quiet tenants wait (p99) under FIFO", waits),
            Ratio("jain", "Jain's index, fair queue", [fair.jain for fair, _ in pairs]),
            Ratio("jain_fifo", "Jain's index, FIFO", [fifo.jain for _, fifo in pairs]),
        ],
        settings=dict(settings),
    )
