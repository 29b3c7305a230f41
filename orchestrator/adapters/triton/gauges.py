"""How many requests wait in the engines, from the metrics that Triton serves over HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from orchestrator.domain.catalogue import TRITON, Catalogue
from orchestrator.ports.models import EngineGauges

log = logging.getLogger(__name__)

EVERY_S = 0.5
STALE_S = 1.0
_TIMEOUT_S = 0.9  # what takes longer is stale when it comes
_MAX_BYTES = 4 * 1024 * 1024
_WAITING = re.compile(
    rb'^fleet_llm_requests_waiting\{[^}\n]*?model="([^"\n]+)"[^}\n]*\} (\S+)', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Reading:
    """`waiting` is by the model's name in Triton."""

    at_s: float = float("-inf")
    waiting: Mapping[str, int] | None = None


class TritonGauges(EngineGauges):
    """An async context manager. Reads while it is asked, at most every EVERY_S, in the background.

    Of several replicas it is what waits in one, on average over those that answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`urls` are where the metrics are, such as http://127.0.0.1:8002/metrics."""
        self._catalogue = catalogue
        self._clock = clock
        self._readings = dict.fromkeys(urls, _Reading())
        self._client: httpx2.AsyncClient | None = None
        self._began_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if client is not None:
            await client.aclose()

    def waiting(self, model: str) -> int | None:
        entry = self._catalogue.get(model)
        if entry is None or entry.provider != TRITON:
            return None
        self._freshen()
        oldest = self._clock() - STALE_S
        known = [
            reading.waiting[entry.served_as]
            for reading in self._readings.values()
            if reading.at_s >= oldest and reading.waiting and entry.served_as in reading.waiting
        ]
        return -(-sum(known) // len(known)) if known else None

    def _freshen(self) -> None:
        now = self._clock()
        busy = self._reading is not None and not self._reading.done()
        if self._client is None or busy or now - self._began_s < EVERY_S:
            return
        self._began_s = now
        self._reading = asyncio.create_task(self._read_all(self._client))

    async def _read_all(self, client: httpx2.AsyncClient) -> None:
        await asyncio.gather(*(self._read(client, url) for url in self._readings))

    async def _read(self, client: httpx2.AsyncClient, url: str) -> None:
        began = self._clock()
        try:
            self._readings[url] = _Reading(
                began, _waiting_in(await page(client, url, within_s=_TIMEOUT_S))
            )
        except (httpx2.HTTPError, ValueError, OverflowError) as error:
            log.debug("the metrics at %s can't be read: %s", url, error or type(error).__name__)


async def page(client: httpx2.AsyncClient, url: str, *, within_s: float) -> bytes:
    """Raises HTTPError, and ValueError: it is longer, or takes longer, than metrics would."""
    text = bytearray()
    try:
        # Of the whole: the client's own timeouts are of each piece.
        async with asyncio.timeout(within_s), client.stream("GET", url) as response:
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                text += piece
                if len(text) > _MAX_BYTES:
                    raise ValueError(f"more than {_MAX_BYTES} bytes")
    except TimeoutError:
        raise ValueError(f"there is no end of it within {within_s:g} s") from None
    return bytes(text)


def _waiting_in(metrics: bytes) -> Mapping[str, int]:
    """Adds up a model's versions. Raises ValueError, OverflowError: a value is no count."""
    found: defaultdict[str, int] = defaultdict(int)
    for model, value in _WAITING.findall(metrics):
        found[model.decode("utf-8", "replace")] += max(0, round(float(value)))
    return found
