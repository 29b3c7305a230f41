"""What Triton's metrics page says of the model."""

import asyncio
import time
import urllib.request

from tests.conftest import RunningTriton

DEADLINE_S = 60.0


async def fetch(url: str, body: bytes | None = None) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, body, timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def names(triton: RunningTriton) -> set[str]:
    """Of series with the model's label, without the suffixes of histograms."""
    found = set()
    for line in (await fetch(triton.metrics_url)).splitlines():
        if line.startswith("fleet_llm_") and 'model="llm_small"' in line:
            name = line.partition("{")[0]
            for suffix in ("_bucket", "_sum", "_count"):
                name = name.removesuffix(suffix)
            found.add(name)
    return found


async def metric(triton: RunningTriton, name: str, **labels: str) -> float:
    for line in (await fetch(triton.metrics_url)).splitlines():
        wanted = {"model": "llm_small", **labels}
        if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in wanted.items()):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


async def becomes(value: float, triton: RunningTriton, name: str, **labels: str) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if await metric(triton, name, **labels) == value:
            return True
        await asyncio.sleep(0.02)
    return False
