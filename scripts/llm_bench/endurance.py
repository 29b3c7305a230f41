"""What is left behind: by streams that are cancelled midway, and by thousands of requests."""

import asyncio
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc.aio

from scripts.llm_bench.client import burst, open_stream, request_bytes
from scripts.llm_bench.measure import prompts

CANCELLED = 200
BURST = 250
WARMUP = 4
SHORT: dict[str, object] = {"temperature": 1, "max_tokens": 8, "ignore_eos": True}
ENDLESS: dict[str, object] = {"max_tokens": None, "ignore_eos": True}
DEADLINE_S = 60.0
SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux
PROC = Path("/proc")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Endurance:
    cancelled: int
    running_zero_s: float
    """From the last cancel until the gauge says that the engine runs nothing."""
    confirmed_s: float
    """Until it says so after one short request more: then the count is that of the engine's own
    steps, and not what was cancelled taken off an earlier one."""
    requests: int
    memory_mib: list[dict[str, float]]
    """Resident, by process: of the stub and what is below it. Before, halfway and after."""
    shm_mib: list[float]
    """Of this server's shared memory, at the same times."""

    def summary(self) -> dict[str, object]:
        return asdict(self)


async def endure(
    address: str, metrics: str, model: str, region: str, *, requests: int
) -> Endurance:
    """`region` begins the names of the server's shared memory."""
    running_zero_s, confirmed_s = await _cancel(address, metrics, model)
    bursts = max(1, requests // BURST // 2)
    memory, shm = [], []
    for now in (WARMUP, bursts, bursts):
        await _ask(address, model, now)
        memory.append(_memory_mib(region, model))
        shm.append(_shm_mib(region))
    return Endurance(
        CANCELLED, round(running_zero_s, 2), round(confirmed_s, 2), 2 * bursts * BURST, memory, shm
    )


async def _cancel(address: str, metrics: str, model: str) -> tuple[float, float]:
    calls = []
    async with grpc.aio.insecure_channel(address) as channel:
        for number, prompt in enumerate(prompts(CANCELLED)):
            calls.append(open_stream(channel, [request_bytes(model, number, prompt, ENDLESS)]))
        await asyncio.gather(*(anext(aiter(call)) for call in calls))
        for call in calls:
            call.cancel()
        began = time.monotonic()
        zero_s = await _until_nothing_runs(metrics, model, began)
        await burst(address, [request_bytes(model, 0, prompts(1)[0], SHORT)])
        return zero_s, await _until_nothing_runs(metrics, model, began)


async def _until_nothing_runs(metrics: str, model: str, began: float) -> float:
    while await asyncio.to_thread(_running, metrics, model):
        if time.monotonic() - began > DEADLINE_S:
            raise RuntimeError("the engine still runs what was cancelled")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def _running(metrics: str, model: str) -> float:
    with urllib.request.urlopen(metrics) as answer:  # noqa: S310 - our own server
        page = answer.read().decode()
    found = re.search(
        rf'^fleet_llm_requests_running{{[^}}]*model="{model}"[^}}]*}} (\S+)$', page, re.MULTILINE
    )
    if found is None:
        raise RuntimeError(f"{metrics} has no running gauge of {model}")
    return float(found[1])


async def _ask(address: str, model: str, bursts: int) -> None:
    texts = prompts(BURST)
    for _ in range(bursts):
        asked = [request_bytes(model, i, text, SHORT) for i, text in enumerate(texts)]
        found = await burst(address, asked)
        errors = [answer.error for answer in found.answers if answer.error]
        if errors:
            raise RuntimeError(f"{len(errors)} requests failed: {errors[0]}")


def _shm_mib(region: str) -> float:
    # Blocks, not sizes: a region is as long as it may grow to.
    used = sum(one.stat().st_blocks * 512 for one in SHM.glob(f"{region}*"))
    return round(used / MIB, 1)


def _memory_mib(region: str, model: str) -> dict[str, float]:
    page = os.sysconf("SC_PAGE_SIZE")
    below: set[int] = set()
    parents = dict(_parents())
    for pid in parents:
        command = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
        if "triton_python_backend_stub" in command and f"/{model}/" in command:
            below |= {pid} if region in command else set()
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    found: dict[str, float] = {}
    for pid in sorted(below):
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        found[f"{(PROC / str(pid) / 'comm').read_text().strip()} {pid}"] = round(pages * page / MIB)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            yield int(entry.name), int(fields[1])
