"""How many requests wait, read from a server's metrics in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from orchestrator.adapters.triton import TritonGauges
from orchestrator.adapters.triton.gauges import page
from orchestrator.domain.catalogue import ModelEntry
from tests.conftest import RunningTriton

CATALOGUE = {
    "small": ModelEntry(name="small", model="llm_small"),
    "large": ModelEntry(name="large", model="llm_large"),
    "far": ModelEntry(name="far", provider="openai", model="llm_small"),
}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class MetricsPage:
    """Serves a page of metrics, after `gate` is open."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {"llm_small": "3"}
        self.reads = 0
        self.status = "200 OK"
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.reads += 1
        await self.gate.wait()
        gauges = [
            f'fleet_llm_requests_waiting{{model="{model}",version="1"}} {value}\n'
            for model, value in self.waiting.items()
        ]
        lines = "".join(["# HELP what waits\n", 'other{model="llm_small"} 9\n', *gauges])
        head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(lines)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n{lines}".encode())
        writer.close()


@asynccontextmanager
async def serving(page: MetricsPage) -> AsyncIterator[str]:
    server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - reading has no event to wait for
            await asyncio.sleep(0.005)


async def test_a_value_is_there_soon_after_it_was_asked_for() -> None:
    clock = Clock()
    async with serving(MetricsPage()) as url, TritonGauges([url], CATALOGUE, clock=clock) as gauges:
        assert gauges.waiting("small") is None
        await reached(lambda: gauges.waiting("small") == 3)
        assert gauges.waiting("large") is None
        assert gauges.waiting("unheard of") is None


async def test_a_model_of_another_provider_has_no_gauge_and_asks_for_none() -> None:
    page = MetricsPage()
    async with serving(page) as url, TritonGauges([url], CATALOGUE, clock=Clock()) as gauges:
        assert gauges.waiting("far") is None
        await reached(lambda: gauges.waiting("small") == 3)
        assert gauges.waiting("far") is None
    assert page.reads == 1


async def test_nothing_is_read_more_often_than_every_half_second() -> None:
    clock, page = Clock(), MetricsPage()
    async with serving(page) as url, TritonGauges([url], CATALOGUE, clock=clock) as gauges:
        await reached(lambda: gauges.waiting("small") == 3)
        page.waiting = {"llm_small": "8"}
        clock.now_s += 0.49
        for _ in range(20):  # as long as some reads would take
            assert gauges.waiting("small") == 3
            await asyncio.sleep(0.005)
        assert page.reads == 1
        clock.now_s += 0.02
        await reached(lambda: gauges.waiting("small") == 8)
    assert page.reads == 2


async def test_a_value_older_than_a_second_is_not_known() -> None:
    clock, page = Clock(), MetricsPage()
    async with serving(page) as url, TritonGauges([url], CATALOGUE, clock=clock) as gauges:
        await reached(lambda: gauges.waiting("small") == 3)
        page.gate.clear()
        clock.now_s += 0.9
        assert gauges.waiting("small") == 3
        clock.now_s += 0.2
        assert gauges.waiting("small") is None


async def test_a_server_that_drips_does_not_keep_its_reader() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"# nothing yet\n")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    async with server, httpx2.AsyncClient(timeout=1.0, trust_env=False) as client:
        async with asyncio.timeout(5):
            with pytest.raises(ValueError, match="no end of it"):
                await page(client, url, within_s=0.2)


async def test_a_server_that_is_away_or_talks_nonsense_leaves_the_value_unknown() -> None:
    clock, page = Clock(), MetricsPage()
    page.waiting = {"llm_small": "+Inf"}
    async with serving(page) as url:
        gauges = TritonGauges([url, "http://127.0.0.1:1/metrics"], CATALOGUE, clock=clock)
        async with gauges:
            gauges.waiting("small")
            await reached(lambda: page.reads == 1)
            for status, value in (("500 Broken", "3"), ("200 OK", "many")):
                page.status, page.waiting = status, {"llm_small": value}
                reads = page.reads
                clock.now_s += 0.6

                def read_again(before: int = reads) -> bool:
                    assert gauges.waiting("small") is None
                    clock.now_s += 0.6  # it is asked again only when the last try has ended
                    return page.reads > before

                await reached(read_again)
            page.waiting = {"llm_small": "5"}
            clock.now_s += 0.6
            await reached(lambda: gauges.waiting("small") == 5)


async def test_of_several_replicas_it_is_what_waits_in_one() -> None:
    one, other, clock = MetricsPage(), MetricsPage(), Clock()
    other.waiting = {"llm_small": "10"}
    async with (
        serving(one) as first,
        serving(other) as second,
        TritonGauges([first, second], CATALOGUE, clock=clock) as gauges,
    ):
        await reached(lambda: gauges.waiting("small") == 7)


async def test_triton_tells_of_its_language_models(triton: RunningTriton) -> None:
    async with TritonGauges([triton.metrics_url], CATALOGUE) as gauges:
        await reached(lambda: gauges.waiting("small") == 0)
        assert gauges.waiting("large") == 0
