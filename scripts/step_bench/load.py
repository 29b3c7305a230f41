"""The load: runs of many tenants, so many at once; and questions, one at a time."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from redis.asyncio import Redis

from orchestrator.client.fleet import FleetClient
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.runs import Run, RunState
from orchestrator.ports.state import State
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from scripts.step_bench.scene import AGENT, AT_ONCE, REFERENCE, SPEC, WITH_TOOL

_LOOK_S = 0.01
_COUNTERS = "fleet:{s00}:counters"


@dataclass(frozen=True, slots=True)
class Load:
    runs: int
    tenants: int
    at_once: int

    def tenant(self, number: int) -> str:
        return f"tenant-{number % self.tenants:04d}"


async def prepare(state: State, load: Load) -> None:
    for number in range(load.tenants):
        await state.agents.put(load.tenant(number), AGENT, SPEC)


async def play(
    state: State, redis: Redis, load: Load, *, first: int = 0
) -> tuple[float, list[Run]]:
    """Submits the runs, `at_once` of them open; returns the seconds until all had ended.

    They are numbered from `first` on: no two loads of a state may share numbers.
    """
    runs: list[Run] = []
    began = time.perf_counter()
    while (open_runs := await _open_runs(redis, load)) or len(runs) < load.runs:
        room = min(load.at_once - open_runs, load.runs - len(runs))
        if room > 0:
            fresh = range(first + len(runs), first + len(runs) + room)
            runs += await asyncio.gather(*(submit(state, load.tenant(n), n) for n in fresh))
        else:
            await asyncio.sleep(_LOOK_S)
    return time.perf_counter() - began, runs


async def count_answered(state: State, runs: list[Run]) -> int:
    found = await asyncio.gather(*(state.runs.get(run.tenant, run.run_id) for run in runs))
    return sum(run.state is RunState.COMPLETED and run.result == "It is 42." for run in found)


async def _open_runs(redis: Redis, load: Load) -> int:
    names = [f"live\0{load.tenant(number)}" for number in range(load.tenants)]
    return sum(int(count or 0) for count in await redis.hmget(_COUNTERS, names))


async def submit(state: State, tenant: str, number: int) -> Run:
    known = await state.runs.register(
        tenant, f"request-{number}", fingerprint=str(number), session_id=""
    )
    run = Run(
        run_id=known.run_id,
        tenant=tenant,
        session_id=known.session_id,
        agent=REFERENCE,
        input=WITH_TOOL,
    )
    await state.runs.submit(advance(run, Submitted()), session_labels={})
    return run


async def ask(address: str, times: int) -> list[float]:
    """Asks one question after the other; returns how long each answer took, in ms."""
    took: list[float] = []
    async with FleetClient.open(address) as client:
        for _ in range(times):
            request = runs_pb2.StartRunRequest(
                request_id=uuid.uuid4().hex, agent="assistant", input=AT_ONCE
            )
            began = time.perf_counter()
            async for _event in client.ask(request):
                pass
            took.append((time.perf_counter() - began) * 1000)
    return took
