"""The dead letters in Redis: entries by tenant and id, and their order of age."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import check_tenant
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.listing import newest_first
from orchestrator.domain import pages
from orchestrator.domain.errors import NotFound
from orchestrator.domain.work import DeadLetter
from orchestrator.ports.state import DeadLetters, Page

_ID = re.compile(r"dead_([0-9a-f]{2})_[0-9a-z]{16,40}")


class RedisDeadLetters(DeadLetters):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[DeadLetter]:
        before = pages.decode("dead letters", check_tenant(tenant), token)
        indexes = [
            (keys.dead(shard)[1], f"{tenant}\0dead_{shard:02x}_")
            for shard in range(self._db.shards)
        ]
        members, last = await newest_first(self._db, indexes, before=before, limit=limit)
        found = [member.rpartition("\0")[2] for member in members]
        entries = await self._read(tenant, found)
        return Page(
            tuple(entry for entry in entries if entry),
            pages.encode("dead letters", tenant, last),
        )

    async def get(self, tenant: str, entry_id: str) -> DeadLetter:
        found = None
        if self._shard(entry_id) is not None:
            (found,) = await self._read(check_tenant(tenant), [entry_id])
        if found is None:
            raise NotFound(f"there is no dead letter {entry_id[:60]!r}")
        return found

    async def remove(self, tenant: str, entry_ids: Sequence[str]) -> int:
        by_shard: defaultdict[int, list[str]] = defaultdict(list)
        for entry_id in dict.fromkeys(entry_ids):
            shard = self._shard(entry_id)
            if shard is not None:
                by_shard[shard].append(entry_id)
        removed = await self._db.call_each(
            [
                ("remove_dead", keys.dead(shard), [check_tenant(tenant), *found])
                for shard, found in by_shard.items()
            ]
        )
        return sum(removed)

    async def _read(self, tenant: str, entry_ids: Sequence[str]) -> tuple[DeadLetter | None, ...]:
        replies = await self._db.call_each(
            [
                ("read_dead", keys.dead(self._shard(entry_id) or 0)[:1], [tenant, entry_id])
                for entry_id in entry_ids
            ]
        )
        return tuple(_entry(tenant, reply) for reply in replies)

    def _shard(self, entry_id: str) -> int | None:
        match = _ID.fullmatch(entry_id)
        shard = int(match[1], 16) if match else self._db.shards
        return shard if shard < self._db.shards else None


def _entry(tenant: str, reply: list[str] | None) -> DeadLetter | None:
    if reply is None or reply[0] != tenant:
        return None
    _, worker, time_ms, doc = reply
    return DeadLetter.model_validate_json(doc).model_copy(
        update={"worker": worker, "time_ms": int(time_ms)}
    )
