"""The run store in memory: claims, leases and commits."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.memory_state.database import Database, StoredRun
from orchestrator.adapters.memory_state.queue import Entry
from orchestrator.adapters.memory_state.writing import Cause, Writer
from orchestrator.domain.budgets import over_budget
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
        self._writer = Writer(database)

    async def claim(
        self,
        kind: WorkKind,
        *,
        worker: str,
        limit: int,
        lease_ms: int,
        history: int = 0,
        reserve_micros: int = 0,
    ) -> tuple[Claim, ...]:
        claims: list[Claim] = []
        now = self._db.now_ms()
        while len(claims) < limit:
            entry = self._db.items.lease(
                kind,
                worker=worker,
                now_ms=now,
                expires_ms=now + lease_ms,
                reserve_micros=reserve_micros,
            )
            if entry is None:
                break
            claims.append(self._begin(entry, now, history))
        return tuple(claims)

    def _begin(self, entry: Entry, now: int, history: int) -> Claim:
        stored = self._db.runs[entry.item.run_id]
        if stored.run.state is RunState.QUEUED:
            running = {"state": RunState.RUNNING, "updated_ms": now}
            stored.run = stored.run.model_copy(update=running)
            self._tell(stored, entry, StateChanged(state=RunState.RUNNING))
        if entry.attempt > 1 and entry.item.kind is WorkKind.REASON:
            self._tell(stored, entry, StepRestarted(reason="the last try ended without a result"))
        messages = self._db.sessions[entry.session_id].messages
        paused_ms = stored.run.paused_ms
        if stored.paused_since_ms:
            paused_ms += now - stored.paused_since_ms
        return Claim(
            lease=Lease(
                item=entry.item,
                tenant=entry.tenant,
                session_id=entry.session_id,
                nonce=entry.nonce,
                attempt=entry.attempt,
                expires_ms=entry.expires_ms,
            ),
            run=stored.run.model_copy(update={"paused_ms": paused_ms}),
            version=stored.version,
            history=tuple(messages[-history:]) if history else (),
            cancel_requested=self._db.cancel_asked(entry),
            over_budget=self._over_budget(entry),
            now_ms=now,
            waited_ms=now - entry.ready_ms,
        )

    def _over_budget(self, entry: Entry) -> str:
        if entry.over_budget is None:
            return ""
        return over_budget(self._db.limits.budgets, entry.tenant, entry.over_budget)

    def _tell(self, stored: StoredRun, entry: Entry, payload: Payload) -> None:
        self._db.append(stored, (payload,), step=entry.item.step, attempt=entry.attempt)

    async def wait_for_work(self, kind: WorkKind, *, timeout_s: float) -> None:
        await self._db.items.wait(kind, timeout_s=timeout_s)

    def _held(self, lease: Lease) -> Entry:
        entry = self._db.items.held(lease.item.key, lease.nonce)
        if entry is None:
            raise StaleLease(
                f"the lease of {lease.item.key}, attempt {lease.attempt}, is not held any more"
            )
        return entry

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> tuple[LeaseState, ...]:
        return tuple(self._extend(lease, lease_ms) for lease in leases)

    def _extend(self, lease: Lease, lease_ms: int) -> LeaseState:
        entry = self._db.items.held(lease.item.key, lease.nonce)
        if entry is None:
            return LeaseState.LOST
        entry.expires_ms = self._db.now_ms() + lease_ms
        asked = self._db.cancel_asked(entry)
        return LeaseState.CANCEL_REQUESTED if asked else LeaseState.HELD

    async def emit(self, lease: Lease, payloads: Sequence[Payload]) -> None:
        self._held(lease)
        stored = self._db.runs[lease.item.run_id]
        self._db.append(stored, tuple(payloads), step=lease.item.step, attempt=lease.attempt)

    async def commit(
        self, claim: Claim, transition: Transition, *, emitted: Sequence[Payload] = ()
    ) -> None:
        lease = claim.lease
        stored = self._db.runs.get(lease.item.run_id)
        if stored is not None and lease.nonce in stored.committed:
            return
        entry = self._held(lease)
        assert stored is not None  # a lease ends with its run
        _check(stored, claim.version)
        stored.committed.add(lease.nonce)
        cause = Cause(lease.item.key, lease.attempt, entry.worker)
        self._db.append(stored, tuple(emitted), step=lease.item.step, attempt=lease.attempt)
        self._db.items.end_lease(entry, transition.charge)
        if transition.parked_on:
            self._writer.park(entry, transition.parked_on)
        else:
            del stored.open[lease.item.key]
        self._writer.apply(stored, transition, cause)

    async def refresh(self, claim: Claim) -> Claim:
        stored = self._db.runs.get(claim.lease.item.run_id)
        if stored is None:
            raise StaleLease(f"run {claim.lease.item.run_id} is gone")
        return claim.model_copy(update={"run": stored.run, "version": stored.version})

    async def release(self, lease: Lease, *, delay_ms: int = 0, counts: bool = True) -> None:
        stored = self._db.runs.get(lease.item.run_id)
        known = stored.open.get(lease.item.key) if stored else None
        if known is not None and known.given_back == lease.nonce:
            return
        entry = self._held(lease)
        entry.given_back = lease.nonce
        entry.attempt -= 0 if counts else 1
        self._db.items.end_lease(entry, None)
        # Who claims an item of a run that is to end ends it.
        self._db.items.add(entry, delay_ms=0 if self._db.cancel_asked(entry) else delay_ms)

    async def change(self, transition: Transition, *, version: int) -> None:
        stored = self._db.run(transition.run.tenant, transition.run.run_id)
        _check(stored, 0 if stored.run.state.terminal else version)
        self._writer.apply(stored, transition, Cause())

    async def reap(self, *, limit: int) -> int:
        self._db.expire()
        now = self._db.now_ms()
        self._db.items.promote(now)
        expired = self._db.items.expired(now_ms=now, limit=limit)
        most = self._db.limits.max_attempts
        for entry in expired:
            if entry.attempt < most:
                self._db.items.end_lease(entry, None)
                self._db.items.add(entry, delay_ms=0)
        for entry in expired:
            if entry.leased:  # else its run ended for another item of this batch
                self._give_up(entry)
        return len(expired)

    def _give_up(self, entry: Entry) -> None:
        error = RunError(
            reason="ATTEMPTS_EXHAUSTED",
            message=f"step {entry.item.step} was tried {entry.attempt} times without a result",
        )
        stored = self._db.runs[entry.item.run_id]
        moved = advance(stored.run, Failed(error, dead_letter=True))
        cause = Cause(entry.item.key, entry.attempt, entry.worker)
        del stored.open[entry.item.key]
        self._db.items.end_lease(entry, moved.charge)
        self._writer.apply(stored, moved, cause)


def _check(stored: StoredRun, version: int) -> None:
    if stored.version != version:
        raise VersionConflict(
            f"run {stored.run.run_id} is at version {stored.version}, not {version}"
        )
