"""How many calls of one tool or model run at once, and how many may wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class PlacesTaken(Exception):
    """No place became free: the call has not begun."""


@dataclass(slots=True)
class WaitingRoom:
    """A waiting call holds a slot of its process, so only few may wait, of all places together."""

    seats: int
    taken: int = 0


class Places:
    """At most `limit` calls of one tool or model at once; 0 is no limit."""

    def __init__(self, limit: int, room: WaitingRoom) -> None:
        self.limit = limit
        self._free = asyncio.Semaphore(limit) if limit else None
        self._room = room

    @property
    def full(self) -> bool:
        return self._free is not None and self._free.locked()

    @asynccontextmanager
    async def taken(self, *, until: float) -> AsyncIterator[None]:
        """Holds a place; waits for one until that time of the event loop's clock.

        Raises:
            PlacesTaken: too many wait already, or none became free in time.
        """
        if self._free is None:
            yield
            return
        if self._free.locked():
            await self._wait(self._free, until)
        else:
            await self._free.acquire()  # at once: none waits while one is free
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self, free: asyncio.Semaphore, until: float) -> None:
        if self._room.taken >= self._room.seats:
            raise PlacesTaken
        self._room.taken += 1
        try:
            async with asyncio.timeout_at(until):
                await free.acquire()
        except TimeoutError:
            raise PlacesTaken from None
        finally:
            self._room.taken -= 1
