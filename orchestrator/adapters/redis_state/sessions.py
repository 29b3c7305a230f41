"""The session store in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import (
    SESSION_FIELDS,
    check_tenant,
    messages_from,
    session_doc,
    session_from,
)
from orchestrator.adapters.redis_state.database import Call, Database
from orchestrator.adapters.redis_state.listing import newest_first
from orchestrator.adapters.redis_state.unique import UniqueIds
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import FailedPrecondition, NotFound
from orchestrator.domain.messages import Message
from orchestrator.domain.sessions import Session
from orchestrator.ports.state import Page, SessionStore

PURGED_AT_ONCE = 100


class RedisSessionStore(SessionStore):
    def __init__(self, database: Database, unique: UniqueIds) -> None:
        self._db = database
        self._unique = unique

    async def create(self, tenant: str, *, agent: str, labels: Mapping[str, str]) -> Session:
        unique = self._unique()
        shard = ids.shard_of(check_tenant(tenant), unique, self._db.shards)
        made = await self._create(tenant, shard, unique, agent, session_doc(labels))
        assert made is not None
        return made

    async def fork(self, tenant: str, session_id: str) -> Session:
        shard = self._shard(session_id)
        source = keys.session(shard, check_tenant(tenant), session_id)
        made = await self._create(tenant, shard, self._unique(), "", "", *source)
        if made is None:
            raise _missing(session_id)
        return made

    async def _create(
        self, tenant: str, shard: int, unique: str, agent: str, doc: str, *source: str
    ) -> Session | None:
        session_id = ids.session_id(shard, unique)
        reply = await self._db.call(
            "create_session",
            [
                *keys.session(shard, tenant, session_id),
                keys.sessions(shard, tenant),
                keys.expiring(shard),
                *source,
            ],
            [tenant, session_id, agent, doc, self._db.limits.session_ttl_s * 1000],
        )
        return session_from(session_id, *reply) if reply else None

    def _shard(self, session_id: str) -> int:
        return ids.shard_from(session_id, field="session_id")

    async def get(self, tenant: str, session_id: str) -> Session:
        key, messages = keys.session(self._shard(session_id), check_tenant(tenant), session_id)
        fields, count = await self._db.ask([("HMGET", key, *SESSION_FIELDS), ("LLEN", messages)])
        if not _is_of(tenant, fields):
            raise _missing(session_id)
        return session_from(session_id, fields, count)

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Session]:
        check_tenant(tenant)
        indexes = [
            (keys.sessions(shard, tenant), ids.session_id(shard, ""))
            for shard in range(self._db.shards)
        ]
        before = pages.decode("sessions", tenant, token)
        found, last = await newest_first(self._db, indexes, before=before, limit=limit)
        named = [(i, keys.session(self._shard(i), tenant, i)) for i in found]
        replies = await self._db.ask(
            [
                command
                for _, (key, messages) in named
                for command in (("HMGET", key, *SESSION_FIELDS), ("LLEN", messages))
            ]
        )
        sessions = tuple(
            session_from(session_id, replies[2 * i], replies[2 * i + 1])
            for i, session_id in enumerate(found)
            if _is_of(tenant, replies[2 * i])
        )
        return Page(sessions, pages.encode("sessions", tenant, last))

    async def messages(
        self, tenant: str, session_id: str, *, start: int = 0, limit: int | None = None
    ) -> tuple[Message, ...]:
        key, messages = keys.session(self._shard(session_id), check_tenant(tenant), session_id)
        fields, found = await self._db.ask(
            [("HMGET", key, "tenant", "doc"), ("LRANGE", messages, start, _stop(start, limit))]
        )
        if not _is_of(tenant, fields):
            raise _missing(session_id)
        kept = found if limit is None else found[:limit]
        return messages_from(kept)

    async def delete(self, tenant: str, session_id: str) -> None:
        shard = self._shard(session_id)
        runs = keys.session_runs(shard, check_tenant(tenant), session_id)
        outcome, *about = await self._db.call(
            "delete_session",
            [
                *keys.session(shard, tenant, session_id),
                keys.sessions(shard, tenant),
                keys.expiring(shard),
                runs,
            ],
            [tenant, session_id, self._db.limits.request_ttl_s * 1000],
        )
        if outcome == "NO_SESSION":
            raise _missing(session_id)
        if outcome == "SESSION_BUSY":
            raise FailedPrecondition(
                f"session {session_id} has the active run {about[0]}",
                reason="SESSION_BUSY",
                metadata={"active_run_id": about[0]},
            )
        while found := (await self._db.ask([("ZRANGE", runs, 0, PURGED_AT_ONCE - 1)]))[0]:
            await self._db.call_each([purging(shard, tenant, session_id, found)])


def purging(shard: int, tenant: str, session_id: str, run_ids: list[str]) -> Call:
    """Removes runs that ended, all of one session."""
    return (
        "purge_runs",
        [
            keys.session_runs(shard, tenant, session_id),
            keys.runs(shard, tenant),
            keys.expiring(shard),
            *(key for run_id in run_ids for key in keys.run(shard, tenant, run_id)),
        ],
        [tenant, session_id, *run_ids],
    )


def _stop(start: int, limit: int | None) -> int:
    """The index of the last message, as LRANGE counts; what is too much is cut off after."""
    return -1 if limit is None or start < 0 else start + limit - 1


def _is_of(tenant: str, fields: list[Any]) -> bool:
    return fields[0] == tenant and fields[1] is not None


def _missing(session_id: str) -> NotFound:
    return NotFound(f"there is no session {session_id}")
