"""The front door with a null model: what a request costs before a model has done anything.

Ours is the RPC Ask with all of it on: authentication, the fair queue, leases, the session, routing,
events and metrics, over Redis. Theirs is LiteLLM's proxy, one worker, with its master key and its
own mock answer. The null model is within the process on both sides.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.client.fleet import FleetClient
from orchestrator.redis_server import free_port
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from scripts.benchmarks.benchmark import Bench, alternate
from scripts.benchmarks.cpu import CpuMeter
from scripts.benchmarks.measured import Measured, series_of
from scripts.benchmarks.null_chat import ANSWER, chat
from scripts.benchmarks.outcome import CannotRun, Outcome, Ratio, WrongAnswer
from scripts.benchmarks.peers.environment import peer_python
from scripts.benchmarks.peers.process import running as ended_with_us
from scripts.step_bench.scene import AT_ONCE as QUESTION
from scripts.step_bench.stack import running

KEY = "sk-bench"
MODEL = "null-model"
OURS, THEIRS = "fleet", "LiteLLM"
CALLERS = (1, 64)
_START_S, _WARM_UP = 120.0, 30
_CONFIG = f"""\
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_key: none
      mock_response: "{ANSWER}"
general_settings:
  master_key: {KEY}
"""


async def run(bench: Bench) -> Outcome:
    requests = bench.pick({1: 150, 64: 1500}, {1: 500, 64: 5000})
    of_peer = bench.pick({1: 80, 64: 300}, {1: 300, 64: 1000})
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    roles = ["worker", "api"]
    async with (
        _litellm(bench) as proxy,
        running(roles, folder=bench.folder / "fleet", fsync="everysec", key_digest=digest) as stack,
        FleetClient.open(stack.address, KEY) as client,
    ):

        def ours(callers: int) -> Callable[[], Awaitable[Measured]]:
            async def measure() -> Measured:
                meter = CpuMeter(stack.pids)
                began = time.perf_counter()
                took = await _ask(client, callers=callers, requests=requests[callers])
                return _measured(took, time.perf_counter() - began, meter)

            return measure

        def theirs(callers: int) -> Callable[[], Awaitable[Measured]]:
            async def measure() -> Measured:
                meter = CpuMeter({"proxy": [proxy.pid]})
                began = time.perf_counter()
                sent = of_peer[callers]
                took = await chat(proxy.port, KEY, MODEL, callers=callers, requests=sent)
                return _measured(took, time.perf_counter() - began, meter)

            return measure

        ways = {f"{OURS}, {n} at once": ours(n) for n in CALLERS}
        ways |= {f"{THEIRS}, {n} at once": theirs(n) for n in CALLERS}
        found = await alternate(bench, bench.pick(3, 7), ways)
    return _outcome(found)


def _measured(took: list[float], seconds: float, meter: CpuMeter) -> Measured:
    taken = {name: 1000 * cpu_s / len(took) for name, cpu_s in meter.taken().items()}
    return Measured(len(took) / seconds, statistics.median(took), taken)


async def _ask(client: FleetClient, *, callers: int, requests: int) -> list[float]:
    took: list[float] = []
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            request = runs_pb2.StartRunRequest(
                request_id=uuid.uuid4().hex, agent="assistant", input=QUESTION
            )
            began = time.perf_counter()
            result = ""
            async for event in client.ask(request):
                if event.WhichOneof("payload") == "finished":
                    result = event.finished.result
            took.append((time.perf_counter() - began) * 1000)
            if result != ANSWER:
                raise WrongAnswer(f"the fleet answered {result[:200]!r}")

    await asyncio.gather(*(caller() for _ in range(callers)))
    return took


@dataclass(frozen=True, slots=True)
class _Proxy:
    port: int
    pid: int


@asynccontextmanager
async def _litellm(bench: Bench) -> AsyncIterator[_Proxy]:
    """Raises CannotRun: it can't be installed, or does not start."""
    python = await peer_python("litellm", bench.progress)
    config, port = bench.folder / "litellm.yaml", free_port()
    config.write_text(_CONFIG, encoding="utf-8")
    log = bench.folder / "litellm.log"
    command = (str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1")
    more = ("--port", str(port), "--num_workers", "1", "--telemetry", "False")
    with log.open("wb") as out:
        proxy = ended_with_us(*command, *more, stdout=out, stderr=out, cwd=bench.folder)
        async with proxy as process:
            await _answers(process, port, bench, log)
            yield _Proxy(port, process.pid)


async def _answers(process: asyncio.subprocess.Process, port: int, bench: Bench, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.returncode is None and time.monotonic() < deadline:
        bench.progress.say("LiteLLM starts")
        with suppress(OSError, asyncio.IncompleteReadError):
            await chat(port, KEY, MODEL, callers=1, requests=_WARM_UP)
            return
        await asyncio.sleep(0.5)
    raise CannotRun(f"LiteLLM's proxy did not start: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-300:]


def _outcome(found: dict[str, list[Measured]]) -> Outcome:
    series = [series_of(name, "requests", rounds) for name, rounds in found.items()]
    pairs = {
        n: list(zip(found[f"{OURS}, {n} at once"], found[f"{THEIRS}, {n} at once"], strict=True))
        for n in CALLERS
    }
    ratios = [
        Ratio(
            "requests_per_cpu_s",
            "times LiteLLM's requests per CPU second, 64 at once",
            [ours.rate_per_cpu_s / theirs.rate_per_cpu_s for ours, theirs in pairs[64]],
            10.0,
        ),
        Ratio(
            "requests_per_cpu_s_at_1",
            "the same, one at a time",
            [ours.rate_per_cpu_s / theirs.rate_per_cpu_s for ours, theirs in pairs[1]],
        ),
        Ratio(
            "p50",
            "share of LiteLLM's p50, one at a time",
            [ours.p50_ms / theirs.p50_ms for ours, theirs in pairs[1]],
            1.0,
            at_most=True,
        ),
    ]
    settings = {"callers": CALLERS, "litellm": "1 worker, master key, mock answer"}
    return Outcome(series, ratios, settings=settings)
