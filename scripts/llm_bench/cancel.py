"""How many engine steps go by between a cancel and the fall of the running gauge.

The model writes a line for each step, cancel and gauge (`trace` in model.json) with the machine's
monotonic time, and so does the client that cancels: what lies between two lines can be counted,
and reading /metrics, which takes longer than many a step, is not part of it.
"""

import asyncio
import json
import random
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from backends.llm_serving.trace import Event
from orchestrator.adapters.triton import TritonConnection
from orchestrator.adapters.triton.wire import flag, infer_request, texts
from scripts.llm_bench.client import open_stream, request_bytes

PROMPT = "<|im_start|>user\nTell me story {}.<|im_end|>\n<|im_start|>assistant\n"
ENDLESS: dict[str, object] = {"max_tokens": None, "ignore_eos": True}
PAUSE_S = (0.2, 0.4)
DEADLINE_S = 20.0
SETTLE_S = 0.1
STEPS_ASKED = 2
PLAIN = "any gRPC client"
HINTING = "the orchestrator"

Stream = AsyncGenerator[object, None]
Caller = Callable[[int], Stream]
"""Opens a numbered stream, whose `aclose` cancels it."""


@dataclass
class Cancels:
    """Of single streams while `streams` of them run, the cancelled one included."""

    streams: int
    way: str = PLAIN
    step_ms: float = 0.0
    from_client_steps: list[int] = field(default_factory=list)
    from_client_ms: list[float] = field(default_factory=list)
    until_told_ms: list[float] = field(default_factory=list)
    """From the client's cancel until the backend's question is answered with yes."""
    from_told_steps: list[int] = field(default_factory=list)
    from_told_ms: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float | str]:
        return {
            "streams": self.streams,
            "way": self.way,
            "cancels": len(self.from_client_steps),
            "step_ms": round(self.step_ms, 2),
            "steps_from_client_p50": statistics.median(self.from_client_steps),
            "steps_from_client_most": max(self.from_client_steps),
            "within_two_steps": sum(n <= STEPS_ASKED for n in self.from_client_steps),
            "ms_from_client_p50": round(statistics.median(self.from_client_ms), 2),
            "ms_until_told_p50": round(statistics.median(self.until_told_ms), 2),
            "steps_from_told_p50": statistics.median(self.from_told_steps),
            "steps_from_told_most": max(self.from_told_steps),
            "ms_from_told_p50": round(statistics.median(self.from_told_ms), 2),
        }


async def measure_cancels(
    address: str, model: str, trace: Path, *, streams: int, times: int
) -> list[Cancels]:
    """Streams of another process keep the engine busy; here one runs at a time and is cancelled,

    in turn by a client that does nothing else and as the orchestrator's adapter does it.
    """
    results = [Cancels(streams, PLAIN), Cancels(streams, HINTING)]
    reader = _Reader(trace)
    async with (
        background(address, model, streams - 1),
        grpc.aio.insecure_channel(address) as channel,
        TritonConnection(address) as connection,
    ):
        async with asyncio.timeout(DEADLINE_S):
            # A connection may take longer than it is given on a machine this busy.
            while not await connection.ready(model):  # noqa: ASYNC110 - no event of ours
                await asyncio.sleep(SETTLE_S)
        callers = {PLAIN: _plain(channel, model), HINTING: _hinting(connection, model)}
        number = 0
        while any(len(one.from_client_steps) < times for one in results):
            number += 1
            result = results[number % 2]
            stream = callers[result.way](number)
            await anext(stream)
            # At any moment of a step and of the watch's round.
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311
            at_ns = time.monotonic_ns()
            await stream.aclose()
            await _note(result, reader, at_ns)
    return results


def _plain(channel: grpc.aio.Channel, model: str) -> Caller:
    async def open_(number: int) -> Stream:
        call = open_stream(channel, [request_bytes(model, 0, PROMPT.format(number), ENDLESS)])
        try:
            async for message in call:
                yield message
        finally:
            call.cancel()

    return open_


def _hinting(connection: TritonConnection, model: str) -> Caller:
    def open_(number: int) -> Stream:
        inputs = [
            texts("text_input", [PROMPT.format(number)], 1),
            texts("sampling_parameters", [json.dumps(ENDLESS)], 1),
            flag("stream", value=True),
        ]
        return connection.stream(infer_request(model, inputs, request_id=f"cancels-{number}"))

    return open_


class _Reader:
    """What the trace says from the beginning on, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self._later: list[Event] = []
        self._running = 0

    def running_at(self, at_ns: int) -> int:
        """The gauge at that time; later events are kept, earlier ones forgotten."""
        events = self._events()
        self._running = next(
            (one.value for one in reversed(events) if one.name == "running" and one.at_ns < at_ns),
            self._running,
        )
        self._later = [event for event in events if event.at_ns >= at_ns]
        return self._running

    def later(self) -> Sequence[Event]:
        self._later = self._events()
        return self._later

    def _events(self) -> list[Event]:
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            whole = file.read().rpartition(b"\n")[0]
        self._read_to += len(whole) + bool(whole)
        new = [Event.parse(line) for line in whole.decode().splitlines()]
        return sorted([*self._later, *new])


async def _note(result: Cancels, reader: _Reader, at_ns: int) -> None:
    """Leaves a cancel out that met fewer streams: some had reached the context's end."""
    deadline = time.monotonic() + DEADLINE_S
    await asyncio.sleep(SETTLE_S)  # the gauge is written from another process
    if reader.running_at(at_ns) != result.streams:
        return
    while not note_cancel(result, reader.later(), at_ns):
        if time.monotonic() > deadline:
            told = "told" if any(one.name == "told" for one in reader.later()) else "not told"
            raise RuntimeError(
                f"with {result.streams} streams the running gauge did not fall within "
                f"{DEADLINE_S:.0f} s of a cancel, of which the backend was {told}"
            )
        await asyncio.sleep(0.1)


def note_cancel(result: Cancels, events: Sequence[Event], at_ns: int) -> bool:
    """Of events after a cancel at `at_ns`; False when its gauge is not among them yet."""
    told = next((one for one in events if one.name == "told"), None)
    fallen = next(
        (one for one in events if one.name == "running" and one.value < result.streams), None
    )
    if told is None or fallen is None:
        return False
    steps = [one.at_ns for one in events if one.name == "step"]
    by_fall, by_told = bisect_right(steps, fallen.at_ns), bisect_right(steps, told.at_ns)
    result.from_client_steps.append(by_fall)
    result.from_told_steps.append(by_fall - by_told)
    result.from_client_ms.append((fallen.at_ns - at_ns) / 1e6)
    result.until_told_ms.append((told.at_ns - at_ns) / 1e6)
    result.from_told_ms.append((fallen.at_ns - told.at_ns) / 1e6)
    if len(steps) > 1:
        result.step_ms = (steps[-1] - steps[0]) / 1e6 / (len(steps) - 1)
    return True


@asynccontextmanager
async def background(address: str, model: str, streams: int) -> AsyncIterator[None]:
    """Endless streams, running by the time this is entered."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "scripts.llm_bench.background", address, model, str(streams)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if await process.stdout.readline() != b"running\n":
            raise RuntimeError("the background streams did not start")
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def keep_streaming(address: str, model: str, streams: int) -> None:
    """Until standard input ends; says `running` when every stream has begun."""
    begun = 0
    all_begun = asyncio.Event()
    if not streams:
        all_begun.set()

    async def stream(channel: grpc.aio.Channel, number: int) -> None:
        nonlocal begun
        first = True
        while True:
            request = request_bytes(model, 0, PROMPT.format(f"b{number}"), ENDLESS)
            call: Any = open_stream(channel, [request])
            async for _ in call:
                begun += first
                first = False
                if begun == streams:
                    all_begun.set()

    async with grpc.aio.insecure_channel(address) as channel:
        running = [asyncio.create_task(stream(channel, number)) for number in range(streams)]
        await all_begun.wait()
        print("running", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
