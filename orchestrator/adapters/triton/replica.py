"""One of several Triton servers, as its callers know it."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.errors import unreachable
from orchestrator.adapters.triton.pace import Pace

T = TypeVar("T")

SERVER = ""
"""Stands for all models of a server among those that are out."""


@dataclass(slots=True)
class Load:
    """Of one model: the requests in flight, and how fast it begins to answer."""

    in_flight: int = 0
    pace: Pace = field(default_factory=Pace)

    def cost(self, now: float) -> float:
        """What one more request would cost, in seconds. One that was never asked is to be tried,
        but not with everything at once.
        """
        peak_s = self.pace.peak_s(now)
        if peak_s is None:
            return math.inf if self.in_flight else 0.0
        return peak_s * (self.in_flight + 1)


class Replica:
    def __init__(self, connection: TritonConnection, clock: Callable[[], float]) -> None:
        self.connection = connection
        self.loads: defaultdict[str, Load] = defaultdict(Load)
        self.out: set[str] = set()
        self.heard_s = -math.inf
        self._clock = clock
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def url(self) -> str:
        return self.connection.url

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def takes(self, model: str) -> bool:
        return not self.out & {SERVER, model}

    @contextmanager
    def call(self, model: str) -> Iterator[Call]:
        load = self.loads[model]
        load.in_flight += 1
        try:
            yield Call(self, load, self._clock)
        finally:
            load.in_flight -= 1

    def leave(self) -> None:
        """Whoever waits for this server is told that it is gone."""
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if not waiting.expired():  # it may take long to leave
                waiting.reschedule(now)

    async def heard(self, model: str, awaited: Awaitable[T]) -> T:
        """Raises Unreachable: the server is held for gone meanwhile."""
        try:
            async with asyncio.timeout(None) as waiting:
                self._waiting.add(waiting)
                try:
                    answer = await awaited
                finally:
                    self._waiting.discard(waiting)
        except TimeoutError:
            if waiting.expired():
                raise unreachable(model) from None
            raise
        self.heard_s = self._clock()
        return answer


class Call:
    """One request, in flight at a replica."""

    def __init__(self, replica: Replica, load: Load, clock: Callable[[], float]) -> None:
        self._replica = replica
        self._load = load
        self._clock = clock
        self._began = clock()
        self.begun = False

    async def wait(self, model: str, awaited: Awaitable[T]) -> T:
        answer = await self._replica.heard(model, awaited)
        if not self.begun:
            self.begun = True
            now = self._clock()
            self._load.pace.add(now - self._began, now)
        return answer
