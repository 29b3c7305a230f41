"""Whether a provider's server can be reached, asked at most every few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

READY_FOR_S = 30.0
UNREADY_FOR_S = 3.0
PROBE_S = 2.0


class Readiness:
    """Remembers what `probe` found. Never raises; who asks meanwhile waits for the same answer."""

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._ready = False
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def now(self) -> bool:
        if self._clock() >= self._until:
            async with self._asking:
                if self._clock() >= self._until:
                    await self._ask()
        return self._ready

    def forget(self) -> None:
        self._until = 0.0

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(PROBE_S):
                self._ready = await self._probe()
        except TimeoutError:
            self._ready = False
        self._until = self._clock() + (READY_FOR_S if self._ready else UNREADY_FOR_S)
