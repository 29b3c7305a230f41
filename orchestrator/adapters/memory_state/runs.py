"""The run store in memory: reads, and the writes of the api."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from orchestrator.adapters.memory_state.database import StoredRun, StoredSession
from orchestrator.adapters.memory_state.execution import Execution
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import Exhausted, FailedPrecondition, NotFound
from orchestrator.domain.machine import Transition
from orchestrator.domain.runs import BusyPolicy, Run, RunState, StepRecord
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Page, Registration, TenantLoad, Versioned


class MemoryRunStore(Execution):
    """Sessions and runs get ids that count up."""

    async def register(
        self, tenant: str, request_id: str, *, fingerprint: str, session_id: str, near: str = ""
    ) -> Registration:
        known = await self.registered(tenant, request_id)
        if known is not None:
            return known
        unique = self._db.unique()
        shard = _shard(session_id, near)
        made = Registration(
            run_id=ids.run_id(shard, unique),
            session_id=session_id or ids.session_id(shard, unique),
            fingerprint=fingerprint,
            created=True,
        )
        until = self._db.now_ms() + self._db.limits.request_ttl_s * 1000
        again = Registration(made.run_id, made.session_id, fingerprint, created=False)
        self._db.requests[tenant, request_id] = (until, again)
        return made

    async def registered(self, tenant: str, request_id: str) -> Registration | None:
        until, known = self._db.requests.get((tenant, request_id), (0, None))
        return known if until > self._db.now_ms() else None

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
        full = run.parent is None and self._db.live[run.tenant] >= limits.live_runs
        if full or len(session.waiting) >= limits.waiting_runs:
            raise Exhausted("the queue is full", reason="QUEUE_FULL", retry_after_s=1.0)
        self._accept(session, transition)
        if session.waiting and run.busy_policy is BusyPolicy.INTERRUPT:
            self._writer.hurry(self._db.runs[session.active])
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
        self._db.live[run.tenant] += 1
        self._db.sessions[session.session_id] = session
        session.runs.append(run.run_id)
        session.updated_ms = now
        self._db.append(stored, transition.events, step=run.step, attempt=0)
        if session.active:
            session.waiting.append(transition)
        else:
            self._writer.activate(session, transition)

    async def cancel(self, tenant: str, run_id: str) -> Run:
        stored = self._db.run(tenant, run_id)
        if not stored.run.state.terminal:
            self._writer.cancel(stored)
        return stored.run

    async def cancels(self) -> AsyncIterator[str]:
        asked: asyncio.Queue[str] = asyncio.Queue()
        self._db.cancel_listeners.add(asked)
        try:
            while True:
                yield await asked.get()
        finally:
            self._db.cancel_listeners.discard(asked)

    async def overdue(self, *, limit: int) -> tuple[Versioned, ...]:
        now = self._db.now_ms()
        late = [s for s in self._db.runs.values() if _is_overdue(s, now)]
        late.sort(key=lambda s: (_deadline_ms(s.run), s.run.run_id))
        return tuple(Versioned(s.run, s.version) for s in late[:limit])

    async def orphans(self, *, limit: int) -> tuple[Run, ...]:
        runs = (stored.run for stored in self._db.runs.values())
        left = [
            run
            for run in runs
            if run.parent
            and not run.state.terminal
            and self._db.ended(run.tenant, run.parent.run_id)
        ]
        return tuple(left[:limit])

    async def loads(self, kind: WorkKind) -> tuple[TenantLoad, ...]:
        return self._db.items.loads(kind)

    async def read(self, tenant: str, run_id: str) -> Versioned:
        stored = self._db.run(tenant, run_id)
        return Versioned(stored.run, stored.version)

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


def _shard(session_id: str, near: str) -> int:
    if session_id:
        return ids.shard_from(session_id, field="session_id")
    return ids.shard_from(near, field="near") if near else 0


def _deadline_ms(run: Run) -> int:
    return run.created_ms + run.timeout_ms + run.paused_ms


def _is_overdue(stored: StoredRun, now_ms: int) -> bool:
    run = stored.run
    counted = run.timeout_ms and not run.state.terminal and run.state is not RunState.INTERRUPTED
    worked_on = any(entry.leased for entry in stored.open.values())
    return bool(counted) and not worked_on and _deadline_ms(run) < now_ms
