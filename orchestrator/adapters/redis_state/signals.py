"""What other processes say to all: that there may be work, and which run is to be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.subscription import Subscription
from orchestrator.domain.work import WorkKind

LOOK_S = 0.5  # who waits for work looks this often: a lost message delays it by so much
CANCELS_KEPT = 1024  # for a listener that is slow; then the oldest go


class Signals:
    def __init__(self, url: str) -> None:
        self._news = {kind: asyncio.Event() for kind in WorkKind}
        self._cancels: set[asyncio.Queue[str]] = set()
        self._subscribed: set[str] = set()
        self._subscription = Subscription(url, on_message=self._on_message, on_ready=self._on_ready)

    def looking(self, kind: WorkKind) -> None:
        """What is told from now on is news."""
        self._subscribe(keys.WORK_CHANNEL + kind.value)
        self._news[kind].clear()

    async def wait(self, kind: WorkKind, timeout_s: float) -> None:
        """Returns when there is news, or when it is time to look again."""
        self._subscribe(keys.WORK_CHANNEL + kind.value)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, LOOK_S)):
                await self._news[kind].wait()

    async def cancels(self) -> AsyncIterator[str]:
        told: asyncio.Queue[str] = asyncio.Queue()
        self._cancels.add(told)
        self._subscribe(keys.CANCEL_CHANNEL)
        try:
            while True:
                yield await told.get()
        finally:
            self._cancels.discard(told)

    async def close(self) -> None:
        await self._subscription.close()

    def _subscribe(self, channel: str) -> None:
        if channel not in self._subscribed:
            self._subscribed.add(channel)
            self._subscription.add(channel)

    def _on_message(self, channel: str, text: str) -> None:
        if channel == keys.CANCEL_CHANNEL:
            for told in self._cancels:
                if told.qsize() >= CANCELS_KEPT:
                    told.get_nowait()
                told.put_nowait(text)
        else:
            self._news[WorkKind(channel.removeprefix(keys.WORK_CHANNEL))].set()

    def _on_ready(self, channel: str) -> None:
        """What was said before is unknown: look now."""
        if channel != keys.CANCEL_CHANNEL:
            self._news[WorkKind(channel.removeprefix(keys.WORK_CHANNEL))].set()
