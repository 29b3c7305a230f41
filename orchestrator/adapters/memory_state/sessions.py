"""The session store in memory."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.adapters.memory_state.database import Database, StoredSession
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import FailedPrecondition
from orchestrator.domain.messages import Message
from orchestrator.domain.sessions import Session
from orchestrator.ports.state import Page, SessionStore


class MemorySessionStore(SessionStore):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def create(self, tenant: str, *, agent: str, labels: Mapping[str, str]) -> Session:
        return self._add(0, tenant, agent, labels).view()

    def _add(self, shard: int, tenant: str, agent: str, labels: Mapping[str, str]) -> StoredSession:
        now = self._db.now_ms()
        session = StoredSession(
            session_id=ids.session_id(shard, self._db.unique()),
            tenant=tenant,
            agent=agent,
            labels=dict(labels),
            created_ms=now,
            updated_ms=now,
        )
        self._db.sessions[session.session_id] = session
        return session

    async def get(self, tenant: str, session_id: str) -> Session:
        return self._db.session(tenant, session_id).view()

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Session]:
        before = pages.decode("sessions", tenant, token)
        found = sorted(
            (
                s
                for s in self._db.sessions.values()
                if s.tenant == tenant and (not before or _age(s) < before)
            ),
            key=_age,
            reverse=True,
        )
        last = _age(found[limit - 1]) if len(found) > limit else ""
        shown = tuple(s.view() for s in found[:limit])
        return Page(shown, pages.encode("sessions", tenant, last))

    async def messages(
        self, tenant: str, session_id: str, *, start: int = 0, limit: int | None = None
    ) -> tuple[Message, ...]:
        found = self._db.session(tenant, session_id).messages
        first = max(len(found) + start, 0) if start < 0 else start
        return tuple(found[first : None if limit is None else first + limit])

    async def fork(self, tenant: str, session_id: str) -> Session:
        source = self._db.session(tenant, session_id)
        shard = ids.shard_from(session_id, field="session_id")
        copy = self._add(shard, tenant, source.agent, source.labels)
        copy.messages = source.messages[: source.start if source.active else None]
        return copy.view()

    async def delete(self, tenant: str, session_id: str) -> None:
        session = self._db.session(tenant, session_id)
        if session.active:
            raise FailedPrecondition(
                f"session {session_id} has the active run {session.active}",
                reason="SESSION_BUSY",
                metadata={"active_run_id": session.active},
            )
        for run_id in session.runs:
            del self._db.runs[run_id]
        del self._db.sessions[session_id]
        self._db.deleted_sessions.add(session_id)


def _age(session: StoredSession) -> str:
    return session.session_id.rpartition("_")[2]
