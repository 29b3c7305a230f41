"""How many durable steps a second the orchestrator does over Redis, and what Ask takes.

Starts a Redis, workers and toolboxes of its own, with scripted models in the place of Triton;
everything else is as served: leases, events, routing, the fair queue, metrics. A run has three
steps: reason, tool, reason. With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from scripts.step_bench.account import CpuAccount
from scripts.step_bench.load import Load, ask, count_answered, play, prepare
from scripts.step_bench.scene import STEPS_OF_A_RUN
from scripts.step_bench.stack import running

WARM_UP_RUNS, WARM_UP_ASKS = 200, 50


def parse() -> argparse.Namespace:
    summary = (__doc__ or "").split("\n\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="scripts/bench_steps", description=summary)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--tenants", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=256, help="runs that are open at once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--toolboxes", type=int, default=1)
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--fsync", choices=["everysec", "always"], default="everysec")
    parser.add_argument("--json", action="store_true", help="print a JSON object as the last line")
    return parser.parse_args()


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    work = ["worker"] * asked.workers + ["toolbox"] * asked.toolboxes
    with tempfile.TemporaryDirectory(prefix="bench_steps_") as scratch:
        if asked.runs:
            async with running(work, folder=Path(scratch) / "a", fsync=asked.fsync) as stack:
                found |= await _steps(asked, stack.url, stack.pids)
        if asked.asks:
            roles = ["worker", "api"]
            async with running(roles, folder=Path(scratch) / "b", fsync=asked.fsync) as stack:
                await ask(stack.address, WARM_UP_ASKS)
                took = sorted(await ask(stack.address, asked.asks))
                found["ask_p50_ms"] = round(statistics.median(took), 2)
                found["ask_p99_ms"] = round(took[int(len(took) * 0.99)], 2)
    return found


async def _steps(asked: argparse.Namespace, url: str, pids: dict[str, list[int]]) -> dict[str, Any]:
    load = Load(asked.runs, asked.tenants, asked.at_once)
    async with open_redis_state(url) as state, Redis.from_url(url) as redis:
        await prepare(state, load)
        await play(state, redis, Load(WARM_UP_RUNS, asked.tenants, asked.at_once))
        before = await redis.info()
        account = CpuAccount(pids)
        seconds, runs = await play(state, redis, load, first=WARM_UP_RUNS)
        cpu = account.shares(seconds)
        after = await redis.info()
        answered = await count_answered(state, runs)
    if answered != load.runs:
        raise SystemExit(f"bench_steps: {answered} of {load.runs} runs were answered rightly")
    steps = load.runs * STEPS_OF_A_RUN
    commands = after["total_commands_processed"] - before["total_commands_processed"]
    written = after["aof_current_size"] - before["aof_current_size"]
    return {
        "steps_per_s": round(steps / seconds),
        "runs": load.runs,
        "seconds": round(seconds, 2),
        "cpu": {role: round(share, 2) for role, share in cpu.items()},
        "redis_commands_per_step": round(commands / steps, 1),
        "aof_bytes_per_step": round(written / steps),
    }


def main() -> None:
    asked = parse()
    found = uvloop.run(measure(asked))
    for name, value in found.items():
        print(f"{name:24} {value}")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
