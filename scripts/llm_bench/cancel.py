"""How many engine steps go by between a client's cancel and the fall of the running gauge."""

import asyncio
import statistics
import time
import urllib.request
from typing import Any

import grpc
import grpc.aio

from scripts.llm_bench.client import open_stream, request_bytes

PROMPT = "<|im_start|>user\nTell me a story.<|im_end|>\n<|im_start|>assistant\n"
ENDLESS: dict[str, object] = {"max_tokens": None, "ignore_eos": True}
STREAMS = 8
DEADLINE_S = 20.0


async def steps_to_leave(address: str, metrics_url: str, model: str, times: int) -> list[float]:
    """Streams run side by side; one is cancelled; the others keep the engine stepping."""
    found = []
    for _ in range(times):
        async with grpc.aio.insecure_channel(address) as channel:
            calls = [_open(channel, model) for _ in range(STREAMS)]
            for call in calls:
                await call.read()
            await _until(metrics_url, model, STREAMS)
            before = _read(metrics_url, model)
            calls[0].cancel()
            after = await _until(metrics_url, model, STREAMS - 1)
            found.append(after["steps"] - before["steps"])
            for call in calls[1:]:
                call.cancel()
        await _until(metrics_url, model, 0)
    return found


def _open(channel: grpc.aio.Channel, model: str) -> Any:
    return open_stream(channel, [request_bytes(model, 0, PROMPT, ENDLESS, stream=True)])


async def _until(metrics_url: str, model: str, running: int) -> dict[str, float]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        values = _read(metrics_url, model)
        if values["running"] == running:
            return values
        await asyncio.sleep(0.001)
    raise RuntimeError(f"the running gauge did not become {running} within {DEADLINE_S:.0f} s")


def _read(metrics_url: str, model: str) -> dict[str, float]:
    names = {
        "fleet_llm_requests_running": "running",
        "fleet_llm_engine_steps_total": "steps",
    }
    values = {}
    with urllib.request.urlopen(metrics_url, timeout=DEADLINE_S) as answer:  # noqa: S310
        for line in answer.read().decode().splitlines():
            name, _, rest = line.partition("{")
            if name in names and f'model="{model}"' in rest:
                values[names[name]] = float(rest.rsplit(" ", 1)[1])
    return values


def summary(steps: list[float]) -> dict[str, float | int]:
    return {
        "cancels": len(steps),
        "steps_p50": statistics.median(steps),
        "steps_most": max(steps),
    }
