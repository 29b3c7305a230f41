"""Many agents at once, each with time to think between its questions, some of which need a tool.

Through the front door, with sessions, the fair queue, workers, toolbox and Redis; the model is
null. Its own line at 100 agents is what it is compared with.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.client.fleet import FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from scripts.benchmarks.benchmark import Bench
from scripts.benchmarks.cpu import CpuMeter
from scripts.benchmarks.outcome import Curve, Outcome, Ratio, Series, WrongAnswer
from scripts.step_bench.scene import AT_ONCE as PLAIN
from scripts.step_bench.scene import WITH_TOOL
from scripts.step_bench.stack import Stack, running

ANSWER = "It is 42."
THINK_S = 5.0  # the mean; exponential
TOOL_SHARE = 0.3
CHANNELS = 16
FEWEST = 100


@dataclass(slots=True)
class Level:
    """What `agents` at once did within `seconds`."""

    agents: int
    seconds: float = 0.0
    ttft_ms: list[float] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0
    memory_kib: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return len(self.ttft_ms) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return sorted(self.ttft_ms)[int(len(self.ttft_ms) * share)]


async def run(bench: Bench) -> Outcome:
    numbers = bench.pick((FEWEST, 1000, 5000), (FEWEST, 250, 500, 1000, 2500, 5000))
    lasting_s = bench.pick(8.0, 30.0)
    roles = ["worker", "worker", "toolbox", "api"]
    levels: list[Level] = []
    async with AsyncExitStack() as up:
        stack = await up.enter_async_context(
            running(roles, folder=bench.folder / "fleet", fsync="everysec")
        )
        clients = [
            await up.enter_async_context(FleetClient.open(stack.address)) for _ in range(CHANNELS)
        ]
        empty_kib = _memory_kib(stack)
        for number, agents in enumerate(numbers):
            bench.progress.advance(number / len(numbers))
            bench.progress.say(f"{agents} agents")
            levels.append(await _level(clients, stack, agents, lasting_s))
    for level in levels:
        if level.failed or level.wrong:
            raise WrongAnswer(
                f"{level.agents} agents: {level.failed} questions failed, {level.wrong} answers "
                "were wrong"
            )
    return _outcome(levels, empty_kib)


async def _level(clients: list[FleetClient], stack: Stack, agents: int, lasting_s: float) -> Level:
    level, dice = Level(agents), random.Random(agents)  # noqa: S311 - a load, no secret
    until = time.perf_counter() + lasting_s
    meter = CpuMeter(stack.pids)
    began = time.perf_counter()
    talks = [
        _agent(clients[n % CHANNELS], level, until, random.Random(dice.random()))  # noqa: S311
        for n in range(agents)
    ]
    await asyncio.gather(*talks)
    level.seconds = time.perf_counter() - began
    level.memory_kib = _memory_kib(stack)
    taken = meter.taken()
    level.cpu_s = {name: 1000 * s / max(1, len(level.ttft_ms)) for name, s in taken.items()}
    return level


async def _agent(client: FleetClient, level: Level, until: float, dice: random.Random) -> None:
    session = ""
    await asyncio.sleep(dice.uniform(0, min(THINK_S, max(0.0, until - time.perf_counter()))))
    while time.perf_counter() < until:
        session = await _ask(client, level, session, tool=dice.random() < TOOL_SHARE)
        pause = dice.expovariate(1 / THINK_S)
        if time.perf_counter() + pause >= until:
            return
        await asyncio.sleep(pause)


async def _ask(client: FleetClient, level: Level, session: str, *, tool: bool) -> str:
    request = runs_pb2.StartRunRequest(
        request_id=uuid.uuid4().hex,
        agent="assistant",
        session_id=session,
        input=WITH_TOOL if tool else PLAIN,
    )
    began, first, result = time.perf_counter(), 0.0, ""
    try:
        async for event in client.ask(request):
            match event.WhichOneof("payload"):
                case "snapshot":
                    session = event.snapshot.run.session_id
                case "text_delta" | "tool_call_requested":
                    first = first or time.perf_counter()
                case "finished":
                    result = event.finished.result
    except Exception:  # noqa: BLE001 - counted, and the benchmark fails
        level.failed += 1
        return session
    level.wrong += result != ANSWER
    level.ttft_ms.append(((first or time.perf_counter()) - began) * 1000)
    return session


def _memory_kib(stack: Stack) -> float:
    """What the processes hold for themselves, and their shares of what is shared."""
    return float(sum(_pss_kib(pid) for pids in stack.pids.values() for pid in pids))


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _outcome(levels: list[Level], empty_kib: float) -> Outcome:
    series = [
        Series(
            f"{level.agents} agents",
            "runs",
            rates=[level.rate],
            latencies_ms=[level.quantile_ms(0.5)],
            cpu_s={name: [cpu_s] for name, cpu_s in level.cpu_s.items()},
            more={
                "ttft_p99_ms": [level.quantile_ms(0.99)],
                "memory_mib": [level.memory_kib / 1024],
            },
        )
        for level in levels
    ]
    most, best = levels[-1], max(level.rate for level in levels)
    kib = (most.memory_kib - empty_kib) / most.agents
    first, p99 = levels[0], most.quantile_ms(0.99)
    ratios = [
        Ratio(
            "share_of_best",
            f"runs/s with {most.agents} agents, share of the best point",
            [most.rate / best],
            0.8,
        ),
        Ratio("memory_kib", f"memory an agent, of {most.agents}", [kib], 150.0, True, " KiB"),
        Ratio(
            "ttft_p50_growth",
            f"times the TTFT p50 of {first.agents} agents",
            [most.quantile_ms(0.5) / first.quantile_ms(0.5)],
        ),
        Ratio("ttft_p99_ms", f"TTFT p99, {most.agents} agents", [p99], unit=" ms"),
    ]
    lines = {
        "runs/s": [(float(level.agents), level.rate) for level in levels],
    }
    ttft = {
        "p50": [(float(level.agents), level.quantile_ms(0.5)) for level in levels],
        "p99": [(float(level.agents), level.quantile_ms(0.99)) for level in levels],
    }
    curves = [
        Curve("completed runs a second", "agents", "runs/s", lines, logarithmic=True),
        Curve("time to the first token", "agents", "ms", ttft, logarithmic=True),
    ]
    settings = {"think_s": THINK_S, "share with a tool": TOOL_SHARE, "channels": CHANNELS}
    return Outcome(series, ratios, curves, settings)
