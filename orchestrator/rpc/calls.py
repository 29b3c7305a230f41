"""The calls being answered now: how long each may take, and how all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager

from orchestrator.domain.errors import DeadlineExceeded, Unavailable

NOT_WHEN_DRAINING = frozenset(
    {
        "/fleet.v1.RunService/StartRun",
        "/fleet.v1.RunService/Ask",
        "/fleet.v1.RunService/WatchRun",  # would be cut off soon
        "/fleet.v1.DeadLetterService/RedriveDeadLetter",
        "/fleet.v1.InferenceService/Generate",
    }
)
_RETRY_AFTER_S = 1.0
_LAST_WORDS_S = 2.0


class Calls:
    """Refuses new work once it drains; ends what is left when told to."""

    def __init__(self, *, not_when_draining: Set[str] = NOT_WHEN_DRAINING) -> None:
        self._not_when_draining = not_when_draining
        self._open: set[asyncio.Timeout] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._draining = False
        self._ending = False

    def drain(self) -> None:
        self._draining = True

    @asynccontextmanager
    async def admit(self, method: str, *, limit_s: float) -> AsyncIterator[None]:
        """Runs a call for at most `limit_s`.

        Raises:
            Unavailable: DRAINING.
            DeadlineExceeded: it took longer.
        """
        if self._ending or (self._draining and method in self._not_when_draining):
            raise _draining()
        timer = asyncio.timeout(limit_s)
        try:
            async with timer:
                self._open.add(timer)
                self._none_open.clear()
                yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            if self._ending:
                raise _draining() from error
            raise DeadlineExceeded(
                f"the call took longer than the {limit_s:g} s that the service allows",
                metadata={"limit_s": f"{limit_s:g}"},
            ) from error
        finally:
            self._open.discard(timer)
            if not self._open:
                self._none_open.set()

    async def finish(self, grace_s: float) -> None:
        """Waits for the open calls, then tells those that are left to go elsewhere."""
        if await self._over_within(grace_s):
            return
        self._ending = True
        now = asyncio.get_running_loop().time()
        for timer in self._open:
            if not timer.expired():
                timer.reschedule(now)
        await self._over_within(_LAST_WORDS_S)

    async def _over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._none_open.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _draining() -> Unavailable:
    return Unavailable(
        "this replica is shutting down: try again, another one will answer",
        reason="DRAINING",
        retry_after_s=_RETRY_AFTER_S,
    )
