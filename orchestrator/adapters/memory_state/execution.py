"""The run store in memory: claims, leases and commits."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence

from orchestrator.adapters.memory_state.database import Database, StoredRun, StoredSession
from orchestrator.adapters.memory_state.queue import Entry
from orchestrator.domain.errors import StaleLease, VersionConflict
from orchestrator.domain.events import Payload, StateChanged, StepRestarted
from orchestrator.domain.machine import Failed, Transition, advance
from orchestrator.domain.runs import RunError, RunState
from orchestrator.domain.work import Claim, Lease, WorkKind
from orchestrator.ports.state import LeaseState, RunStore


class Execution(RunStore):
    """The half of the store that workers and toolboxes use."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def claim(
        self,
        kind: WorkKind,
        *,
        worker: str,  # noqa: ARG002 - one process
        limit: int,
        lease_ms: int,
    ) -> tuple[Claim, ...]:
        claims: list[Claim] = []
        while len(claims) < limit and (entry := self._db.queues[kind].pop()):
            claims.append(self._lease(entry, lease_ms))
        if len(claims) < limit:
            self._db.work[kind].clear()
        return tuple(claims)

    def _lease(self, entry: Entry, lease_ms: int) -> Claim:
        stored = self._db.runs[entry.item.run_id]
        entry.attempt += 1
        entry.nonce = secrets.token_hex(12)
        entry.expires_ms = self._db.now_ms() + lease_ms
        self._db.leased[entry.item.key] = entry
        if stored.run.state is RunState.QUEUED:
            stored.run = stored.run.model_copy(
                update={"state": RunState.RUNNING, "updated_ms": self._db.now_ms()}
            )
            self._tell(stored, entry, StateChanged(state=RunState.RUNNING))
        if entry.attempt > 1:
            self._tell(stored, entry, StepRestarted(reason="its lease ended without a result"))
        lease = Lease(
            item=entry.item,
            tenant=entry.tenant,
            session_id=entry.session_id,
            nonce=entry.nonce,
            attempt=entry.attempt,
            expires_ms=entry.expires_ms,
        )
        return Claim(lease=lease, run=stored.run, version=stored.version)

    def _tell(self, stored: StoredRun, entry: Entry, payload: Payload) -> None:
        self._db.append(stored, (payload,), step=entry.item.step, attempt=entry.attempt)

    async def wait_for_work(self, kind: WorkKind, *, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._db.work[kind].wait()

    def _held(self, lease: Lease) -> Entry | None:
        entry = self._db.leased.get(lease.item.key)
        return entry if entry and entry.nonce == lease.nonce else None

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> tuple[LeaseState, ...]:
        return tuple(self._extend(lease, lease_ms) for lease in leases)

    def _extend(self, lease: Lease, lease_ms: int) -> LeaseState:
        entry = self._held(lease)
        if entry is None:
            return LeaseState.LOST
        entry.expires_ms = self._db.now_ms() + lease_ms
        session = self._db.sessions[lease.session_id]
        cancelled = session.cancel == lease.item.run_id
        return LeaseState.CANCEL_REQUESTED if cancelled else LeaseState.HELD

    async def emit(self, lease: Lease, payloads: Sequence[Payload]) -> None:
        if self._held(lease) is None:
            raise _stale(lease)
        stored = self._db.runs[lease.item.run_id]
        self._db.append(stored, tuple(payloads), step=lease.item.step, attempt=lease.attempt)

    async def commit(self, claim: Claim, transition: Transition) -> None:
        lease = claim.lease
        stored = self._db.runs.get(lease.item.run_id)
        if stored is None:
            raise _stale(lease)
        if stored.done.get(lease.item.key) == lease.nonce:
            return
        entry = self._held(lease)
        if entry is None:
            raise _stale(lease)
        if stored.version != claim.version:
            raise VersionConflict(
                f"run {lease.item.run_id} is at version {stored.version}, not {claim.version}"
            )
        stored.done[lease.item.key] = lease.nonce
        self._db.forget(stored, entry, transition.charge)
        self.apply(stored, transition, attempt=lease.attempt)

    def apply(self, stored: StoredRun, transition: Transition, *, attempt: int) -> None:
        """Writes a transition of a run that was accepted."""
        now, before = self._db.now_ms(), stored.run
        session = self._db.sessions[before.session_id]
        times = {"created_ms": before.created_ms, "updated_ms": now}
        if transition.run.state.terminal:
            times["finished_ms"] = now
        stored.run = transition.run.model_copy(update=times)
        stored.version += 1
        session.updated_ms = now
        session.messages.extend(transition.messages)
        if transition.record:
            stored.steps.append(transition.record)
        self._db.append(stored, transition.events, step=before.step, attempt=attempt)
        self._db.enqueue(stored, transition)
        if transition.run.state.terminal:
            self._end(stored, session)

    def _end(self, stored: StoredRun, session: StoredSession) -> None:
        stored.expires_ms = self._db.now_ms() + self._db.limits.run_ttl_s * 1000
        for entry in list(stored.open.values()):
            self._db.forget(stored, entry, None)
        if session.active != stored.run.run_id:
            return
        session.active = session.cancel = ""
        if session.waiting:
            self.activate(session, session.waiting.pop(0))

    def activate(self, session: StoredSession, transition: Transition) -> None:
        """Makes a submitted run its session's active one."""
        session.active = transition.run.run_id
        session.start = len(session.messages)
        session.messages.extend(transition.messages)
        self._db.enqueue(self._db.runs[transition.run.run_id], transition)

    async def refresh(self, claim: Claim) -> Claim:
        stored = self._db.runs.get(claim.lease.item.run_id)
        if stored is None:
            raise _stale(claim.lease)
        return claim.model_copy(update={"run": stored.run, "version": stored.version})

    async def reap(self, *, limit: int) -> int:
        self._db.expire()
        now = self._db.now_ms()
        expired = sorted(
            (e for e in self._db.leased.values() if e.expires_ms <= now),
            key=lambda e: (e.expires_ms, e.item.key),
        )[:limit]
        most = self._db.limits.max_attempts
        for entry in expired:
            if entry.attempt < most:
                self._requeue(entry)
        for entry in expired:
            if entry.nonce:  # else its run ended for another item of this batch
                self._give_up(self._db.runs[entry.item.run_id], entry)
        return len(expired)

    def _give_up(self, stored: StoredRun, entry: Entry) -> None:
        error = RunError(
            reason="ATTEMPTS_EXHAUSTED",
            message=f"step {entry.item.step} was tried {entry.attempt} times without a result",
        )
        moved = advance(stored.run, Failed(error))
        self._db.forget(stored, entry, moved.charge)
        self.apply(stored, moved, attempt=entry.attempt)

    def _requeue(self, entry: Entry) -> None:
        queue = self._db.queues[entry.item.kind]
        del self._db.leased[entry.item.key]
        entry.nonce = ""
        queue.release(entry, None)
        queue.push(entry)
        self._db.work[entry.item.kind].set()


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"the lease of {lease.item.key}, attempt {lease.attempt}, is not held any more"
    )
