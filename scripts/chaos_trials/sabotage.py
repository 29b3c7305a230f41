"""Breaks a process on purpose: a harness that finds nothing then finds nothing ever."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.adapters.redis_state import keys
from orchestrator.domain import ids
from orchestrator.domain.events import RunEvent
from orchestrator.domain.machine import Transition
from orchestrator.domain.work import Claim
from orchestrator.ports.state import EventFeed
from scripts.chaos_trials.orders import Breakage, Orders

_HOLD_AGAIN = """
local packed = redis.call('HGET', KEYS[1], ARGV[1])
if packed then
  local record = cmsgpack.unpack(packed)
  record.state, record.nonce, record.extra = 'leased', ARGV[2], record.extra or 0
  redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(record))
end
"""
_NEVER_MS = 10**15


class Sabotage:
    def __init__(self, orders: Orders) -> None:
        self._breakage = orders.breakage
        self._rng = random.Random(orders.seed)  # noqa: S311 - a draw of trials
        self._redis = cast(Any, Redis.from_url(orders.redis))

    def loses_commit(self) -> bool:
        return self._breakage is Breakage.ACKNOWLEDGE and self._rng.random() < 0.05

    async def before_commit(self, claim: Claim) -> None:
        if self._breakage is Breakage.FENCE:
            lease = claim.lease
            await self._redis.eval(
                _HOLD_AGAIN, 1, keys.items(_shard(claim)), lease.item.key, lease.nonce
            )

    async def after_commit(self, claim: Claim, transition: Transition) -> None:
        if self._breakage is Breakage.LEFTOVER and transition.run.state.terminal:
            await self._redis.zadd(keys.leases(_shard(claim)), {claim.lease.item.key: _NEVER_MS})

    def keys_for(self, key: str, *, once: bool) -> list[str]:
        """The ledger's keys that a tool writes."""
        if self._breakage is Breakage.KEY:
            return [f"{key}:{self._rng.random()}"]
        again = self._breakage is Breakage.EFFECT and once and self._rng.random() < 0.1
        return [key, key] if again else [key]

    def feed(self, feed: EventFeed) -> EventFeed:
        return _Stuttering(feed, self._rng) if self._breakage is Breakage.EVENT else feed


def _shard(claim: Claim) -> int:
    return ids.shard_from(claim.lease.item.run_id, field="run_id")


class _Stuttering(EventFeed):
    def __init__(self, feed: EventFeed, rng: random.Random) -> None:
        self._feed = feed
        self._rng = rng

    async def read(
        self, tenant: str, run_id: str, *, after_seq: int, limit: int
    ) -> tuple[RunEvent, ...]:
        return await self._feed.read(tenant, run_id, after_seq=after_seq, limit=limit)

    async def follow(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncIterator[RunEvent]:
        async for event in self._feed.follow(tenant, run_id, after_seq=after_seq):
            yield event
            if self._rng.random() < 0.1:
                yield event
