"""How many calls of one tool run at once, and how many may wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PlacesTaken(Exception):
    """No place became free: the call has not begun."""


class Places:
    """`limit` 0 is no limit. A waiting call holds a slot of the toolbox, so few may wait."""

    def __init__(self, limit: int, max_waiting: int) -> None:
        self._free = asyncio.Semaphore(limit) if limit else None
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def taken(self, *, until: float) -> AsyncIterator[None]:
        """Holds a place; waits for one until that time of the event loop's clock.

        Raises:
            PlacesTaken: too many wait already, or none became free in time.
        """
        if self._free is None:
            yield
            return
        if self._free.locked() and self._waiting >= self._max_waiting:
            raise PlacesTaken
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self._free.acquire()
        except TimeoutError:
            raise PlacesTaken from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
