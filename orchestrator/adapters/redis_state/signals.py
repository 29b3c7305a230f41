"""Which shards may have work: told by messages, and by a look at all of them now and then."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.subscription import Subscription
from orchestrator.domain.work import WorkKind

LOOK_S = 1.0  # a lost message delays work by this much


class WorkSignals:
    def __init__(self, database: Database) -> None:
        self._db = database
        self._shards: dict[WorkKind, set[int]] = {kind: set() for kind in WorkKind}
        self._news = {kind: asyncio.Event() for kind in WorkKind}
        self._looked = dict.fromkeys(WorkKind, -LOOK_S)
        self._subscribed: set[WorkKind] = set()
        self._subscription = Subscription(
            database.url, on_message=self._on_message, on_ready=self._on_ready
        )

    async def due(self, kind: WorkKind) -> list[int]:
        """Takes the shards that may have work, in random order."""
        self._subscribe(kind)
        self._news[kind].clear()
        if time.monotonic() >= self._looked[kind] + LOOK_S:
            await self._look(kind)
        shards = list(self._shards[kind])
        self._shards[kind].clear()
        random.shuffle(shards)
        return shards

    def add(self, kind: WorkKind, shard: int) -> None:
        self._shards[kind].add(shard)
        self._news[kind].set()

    async def wait(self, kind: WorkKind, timeout_s: float) -> None:
        """Returns when there is news, or when it is time to look again."""
        self._subscribe(kind)
        until_look = max(0.0, self._looked[kind] + LOOK_S - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, until_look)):
                await self._news[kind].wait()

    async def close(self) -> None:
        await self._subscription.close()

    async def _look(self, kind: WorkKind) -> None:
        self._looked[kind] = time.monotonic()
        shards = range(self._db.shards)
        counts = await self._db.ask([("ZCARD", keys.ready(shard, kind.value)) for shard in shards])
        self._shards[kind].update(
            shard for shard, count in zip(shards, counts, strict=True) if count
        )

    def _subscribe(self, kind: WorkKind) -> None:
        if kind not in self._subscribed:
            self._subscribed.add(kind)
            self._subscription.add(keys.WORK_CHANNEL + kind.value)

    def _on_message(self, channel: str, text: str) -> None:
        self.add(WorkKind(channel.removeprefix(keys.WORK_CHANNEL)), int(text))

    def _on_ready(self, channel: str) -> None:
        """What was said before is unknown: look now."""
        kind = WorkKind(channel.removeprefix(keys.WORK_CHANNEL))
        self._looked[kind] = -LOOK_S
        self._news[kind].set()
