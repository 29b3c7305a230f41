"""Durable steps: a run of three (reason, tool, reason) with a null model, many at once.

Ours is all of it but the front door: fair queue, leases, sessions, events, routing, metrics, over
Redis, with workers and a toolbox as processes. Theirs run in one process, and keep only the steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from scripts.benchmarks.benchmark import Bench, alternate
from scripts.benchmarks.cpu import CpuMeter
from scripts.benchmarks.measured import Measured, series_of
from scripts.benchmarks.outcome import CannotRun, Outcome, Ratio, WrongAnswer
from scripts.benchmarks.peers.environment import peer_python
from scripts.benchmarks.peers.postgres import Postgres, postgres
from scripts.benchmarks.peers.run_script import run_script
from scripts.step_bench.load import Load, count_answered, play, prepare
from scripts.step_bench.scene import STEPS_OF_A_RUN
from scripts.step_bench.stack import running

AT_ONCE, TENANTS, WARM_UP_RUNS = 64, 16, 100
_SCRIPTS = Path(__file__).parent / "peers"
_OURS = "fleet, {} worker{}"


Way = Callable[[], Awaitable[Measured]]


async def run(bench: Bench) -> Outcome:
    ways: dict[str, Way] = {}
    left_out: list[str] = []
    workers = bench.pick((1, 2), (1, 2, 3))
    for number in workers:
        ways[_OURS.format(number, "s" * (number > 1))] = _ours(bench, number)
    ways |= await _langgraph(bench, left_out)
    async with AsyncExitStack() as up:
        try:
            server = await up.enter_async_context(postgres(bench.folder / "postgres"))
        except CannotRun as reason:
            left_out.append(f"everything on PostgreSQL: {reason}")
        else:
            ways |= await _on_postgres(bench, server, left_out)
        found = await alternate(bench, bench.pick(2, 5), ways)
    outcome = _outcome(found)
    outcome.left_out = left_out
    outcome.settings = {"at_once": AT_ONCE, "steps_of_a_run": STEPS_OF_A_RUN, "tenants": TENANTS}
    return outcome


def _ours(bench: Bench, workers: int) -> Way:
    runs, folders = bench.pick(800, 2000), count()

    async def measure() -> Measured:
        folder = bench.folder / f"fleet-{workers}-{next(folders)}"
        roles = [*["worker"] * workers, "toolbox"]
        load = Load(runs, TENANTS, AT_ONCE)
        async with (
            running(roles, folder=folder, fsync="everysec") as stack,
            open_redis_state(stack.url) as state,
            Redis.from_url(stack.url) as redis,
        ):
            await prepare(state, load)
            await play(state, redis, Load(WARM_UP_RUNS, TENANTS, AT_ONCE))
            meter = CpuMeter(stack.pids)
            seconds, made = await play(state, redis, load, first=WARM_UP_RUNS)
            taken = meter.taken()
            answered = await count_answered(state, made)
            ended = [await state.runs.get(one.tenant, one.run_id) for one in made[-200:]]
        if answered != runs:
            raise WrongAnswer(f"{runs - answered} of {runs} runs were not answered rightly")
        steps = runs * STEPS_OF_A_RUN
        took = sorted(one.finished_ms - one.created_ms for one in ended)
        return Measured(
            steps / seconds,
            float(took[len(took) // 2]),
            {name: 1000 * cpu_s / steps for name, cpu_s in taken.items()},
        )

    return measure


async def _langgraph(bench: Bench, left_out: list[str]) -> dict[str, Way]:
    try:
        python = await peer_python("langgraph", bench.progress)
    except CannotRun as reason:
        left_out.append(f"LangGraph: {reason}")
        return {}
    files = count()
    runs = bench.pick({"none": 600, "memory": 600, "sqlite": 150}, dict.fromkeys(_KINDS, 600))

    def way(kind: str) -> Way:
        async def measure() -> Measured:
            place = str(bench.folder / f"langgraph-{next(files)}.sqlite")
            return await _script(python, "langgraph_steps.py", kind, place, runs[kind])

        return measure

    return {f"LangGraph, {said}": way(kind) for kind, said in _KINDS.items()}


_KINDS = {"none": "no checkpoints", "memory": "memory", "sqlite": "SQLite"}


async def _on_postgres(bench: Bench, server: Postgres, left_out: list[str]) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    runs = bench.pick(150, 400)
    for peer, name, arguments in (
        ("langgraph", "LangGraph, PostgreSQL", ("postgres", server.url)),
        ("dbos", "DBOS, PostgreSQL", (server.url,)),
    ):
        try:
            python = await peer_python(peer, bench.progress)
        except CannotRun as reason:
            left_out.append(f"{name}: {reason}")
            continue

        async def measure(
            python: Path = python, peer: str = peer, arguments: tuple[str, ...] = arguments
        ) -> Measured:
            meter = CpuMeter({"postgres": [server.pid]})
            found = await _script(python, f"{peer}_steps.py", *arguments, runs)
            taken = 1000 * meter.taken()["postgres"] / (runs * STEPS_OF_A_RUN)
            return Measured(found.rate, found.p50_ms, found.cpu_s | {"postgres": taken})

        ways[name] = measure
    return ways


async def _script(python: Path, script: str, *arguments: str | int) -> Measured:
    runs = int(arguments[-1])
    found: dict[str, Any] = await run_script(
        python, _SCRIPTS / script, *map(str, arguments), str(AT_ONCE)
    )
    if found["wrong"]:
        raise WrongAnswer(f"{script}: {found['wrong']} of {runs} runs were answered wrongly")
    cpu_s = 1000 * found["cpu_s"] / (runs * STEPS_OF_A_RUN)
    return Measured(found["steps_per_s"], found["run_p50_ms"], {"process": cpu_s})


def _outcome(found: dict[str, list[Measured]]) -> Outcome:
    series = [series_of(name, "steps", rounds) for name, rounds in found.items()]
    ours = [
        max(one.rate for one in measured)
        for measured in zip(
            *(found[name] for name in found if name.startswith("fleet")), strict=True
        )
    ]
    ratios = [
        Ratio(
            key,
            f"times {name}",
            [mine / one.rate for mine, one in zip(ours, found[name], strict=True)],
            wanted,
        )
        for key, name, wanted in (
            ("langgraph_memory", "LangGraph, memory", 1.0),
            ("langgraph_sqlite", "LangGraph, SQLite", 5.0),
            ("langgraph_postgres", "LangGraph, PostgreSQL", None),
            ("dbos_postgres", "DBOS, PostgreSQL", 8.0),
        )
        if name in found
    ]
    return Outcome(series, ratios)
