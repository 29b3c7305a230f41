"""Who asks the model, among processes that want the same answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import CacheHit
from orchestrator.ports.answers import AnswerCache, AnswerKey, Likeness, Put, StoredAnswer

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """A lease ends `lease_s` after its owner died. Who waits for another's answer asks the
    model itself after `wait_s`.
    """

    lease_s: float = 3.0
    wait_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    answer: StoredAnswer
    hit: CacheHit


class Lease:
    """The right to ask the model for one answer. An async context manager that gives it back.

    A cache that is away keeps nobody from asking.
    """

    def __init__(
        self,
        answers: AnswerCache,
        key: AnswerKey,
        flight: str,
        times: LeaseTimes = LeaseTimes(),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._key = key
        self._flight = flight
        self._times = times
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._holding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._holding is not None:
            await self._stop()
            with suppress(Unavailable):
                await self._answers.release(self._key, self._flight, owner=self._owner)

    async def take(self) -> Found | None:
        """Returns the answer once there is one; None: ask the model."""
        until = self._clock() + self._times.wait_s
        pause, hit = FIRST_PAUSE_S, CacheHit.EXACT
        while True:
            try:
                claimed = await self._answers.claim(
                    self._key, self._flight, owner=self._owner, lease_s=self._times.lease_s
                )
            except Unavailable:
                return None
            if isinstance(claimed, StoredAnswer):
                return Found(claimed, hit)
            if claimed:
                self._holding = asyncio.create_task(self._hold(), name="lease of an answer")
                return None
            if self._clock() > until:
                return None
            hit = CacheHit.SHARED
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_S)

    async def put(self, answer: StoredAnswer, likeness: Likeness | None) -> Put:
        """Stores the answer for all, which ends the lease."""
        await self._stop()
        try:
            return await self._answers.put(
                self._key, answer, flight=self._flight, owner=self._owner, likeness=likeness
            )
        except Unavailable:
            return Put(stored=False)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(self._times.lease_s / 3)
            with suppress(Unavailable):
                await self._answers.extend(
                    self._key, self._flight, owner=self._owner, lease_s=self._times.lease_s
                )

    async def _stop(self) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.cancel()
            await asyncio.wait([holding])
