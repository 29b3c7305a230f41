"""The run store in memory: reads, and the writes of the api."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.adapters.memory_state.database import Database, StoredRun, StoredSession
from orchestrator.adapters.memory_state.execution import Execution
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import Exhausted, FailedPrecondition, NotFound
from orchestrator.domain.machine import CancelRequested, Transition, advance
from orchestrator.domain.runs import BusyPolicy, Run, StepRecord
from orchestrator.ports.state import Page, Registration


class MemoryRunStore(Execution):
    """Sessions and runs get ids that count up."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._db = database

    async def register(
        self, tenant: str, request_id: str, *, fingerprint: str, session_id: str
    ) -> Registration:
        key = (tenant, request_id)
        until, known = self._db.requests.get(key, (0, None))
        if known is not None and until > self._db.now_ms():
            return known
        unique = self._db.unique()
        shard = ids.shard_from(session_id, field="session_id") if session_id else 0
        made = Registration(
            run_id=ids.run_id(shard, unique),
            session_id=session_id or ids.session_id(shard, unique),
            fingerprint=fingerprint,
            created=True,
        )
        until = self._db.now_ms() + self._db.limits.request_ttl_s * 1000
        again = Registration(made.run_id, made.session_id, fingerprint, created=False)
        self._db.requests[key] = (until, again)
        return made

    async def submit(self, transition: Transition, *, session_labels: Mapping[str, str]) -> bool:
        run = transition.run
        if run.run_id in self._db.runs:
            return False
        session = self._session_of(run, session_labels)
        limits = self._db.limits
        if session.active and run.busy_policy is BusyPolicy.REJECT:
            raise FailedPrecondition(
                f"session {run.session_id} has the active run {session.active}",
                reason="SESSION_BUSY",
                metadata={"active_run_id": session.active},
            )
        live = sum(
            s.run.tenant == run.tenant and not s.run.state.terminal for s in self._db.runs.values()
        )
        if len(session.waiting) >= limits.waiting_runs or live >= limits.live_runs:
            raise Exhausted("the queue is full", reason="QUEUE_FULL", retry_after_s=1.0)
        self._accept(session, transition)
        if session.waiting and run.busy_policy is BusyPolicy.INTERRUPT:
            await self.cancel(run.tenant, session.active)
        return True

    def _session_of(self, run: Run, labels: Mapping[str, str]) -> StoredSession:
        """A session that `register` made shares the unique part of its first run's id."""
        new = run.session_id.removeprefix("ses") == run.run_id.removeprefix("run")
        if not new or run.session_id in self._db.sessions:
            return self._db.session(run.tenant, run.session_id)
        if run.session_id in self._db.deleted_sessions:
            raise NotFound(f"session {run.session_id} was deleted")
        now = self._db.now_ms()
        return StoredSession(
            session_id=run.session_id,
            tenant=run.tenant,
            agent=run.agent.partition("@")[0],
            labels=dict(labels),
            created_ms=now,
            updated_ms=now,
        )

    def _accept(self, session: StoredSession, transition: Transition) -> None:
        now = self._db.now_ms()
        run = transition.run.model_copy(update={"created_ms": now, "updated_ms": now})
        stored = self._db.runs[run.run_id] = StoredRun(run=run)
        self._db.sessions[session.session_id] = session
        session.runs.append(run.run_id)
        session.updated_ms = now
        self._db.append(stored, transition.events, step=run.step, attempt=0)
        if session.active:
            session.waiting.append(transition)
        else:
            self.activate(session, transition)

    async def cancel(self, tenant: str, run_id: str) -> Run:
        stored = self._db.run(tenant, run_id)
        if stored.run.state.terminal:
            return stored.run
        session = self._db.sessions[stored.run.session_id]
        if any(entry.nonce for entry in stored.open.values()):
            session.cancel = run_id
            return stored.run
        session.waiting = [t for t in session.waiting if t.run.run_id != run_id]
        self.apply(stored, advance(stored.run, CancelRequested()), attempt=0)
        return stored.run

    async def get(self, tenant: str, run_id: str) -> Run:
        return self._db.run(tenant, run_id).run

    async def steps(self, tenant: str, run_id: str) -> tuple[StepRecord, ...]:
        return tuple(self._db.run(tenant, run_id).steps)

    async def list(self, tenant: str, *, session_id: str, limit: int, token: str) -> Page[Run]:
        listing = f"runs {session_id}"
        before = pages.decode(listing, tenant, token)
        if session_id:
            self._db.session(tenant, session_id)
        found = sorted(
            (
                s.run
                for s in self._db.runs.values()
                if s.run.tenant == tenant
                and session_id in ("", s.run.session_id)
                and (not before or _age(s.run.run_id) < before)
            ),
            key=lambda run: _age(run.run_id),
            reverse=True,
        )
        last = _age(found[limit - 1].run_id) if len(found) > limit else ""
        return Page(tuple(found[:limit]), pages.encode(listing, tenant, last))


def _age(identifier: str) -> str:
    return identifier.rpartition("_")[2]
