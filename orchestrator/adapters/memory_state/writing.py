"""What a transition changes, written at once: no await between the first line and the last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from orchestrator.adapters.memory_state.database import Database, StoredRun, StoredSession
from orchestrator.adapters.memory_state.queue import Entry
from orchestrator.domain.machine import CancelRequested, Transition, advance
from orchestrator.domain.runs import Run, RunState
from orchestrator.domain.work import DeadLetter


@dataclass(frozen=True, slots=True)
class Cause:
    """The attempt that a transition is the outcome of; none for an answer or a deadline."""

    item_key: str = ""
    attempt: int = 0
    worker: str = ""


class Writer:
    def __init__(self, database: Database) -> None:
        self._db = database

    def apply(self, stored: StoredRun, transition: Transition, cause: Cause) -> None:
        """Writes a transition of a run that was accepted."""
        now, before = self._db.now_ms(), stored.run
        session = self._db.sessions[before.session_id]
        stored.run = transition.run.model_copy(update=self._times(stored, transition, now))
        stored.version += 1
        session.updated_ms = now
        agent = transition.run.agent.partition("@")[0]
        self._db.books.add(now, before.tenant, agent, transition.calls, stored.usage, session.usage)
        session.messages.extend(transition.messages)
        session.agent = transition.session_agent or session.agent
        if transition.record:
            stored.steps.append(transition.record)
        self._db.append(stored, transition.events, step=before.step, attempt=cause.attempt)
        if transition.dead_letter:
            self._bury(stored.run, before.step, cause)
        for key in transition.drop:
            self._db.drop(stored, key)
        self._db.enqueue(stored, transition)
        if transition.run.state.terminal:
            self._end(stored, session)
        elif session.cancel == stored.run.run_id:
            self.hurry(stored)
        for child in transition.cascade:
            if not self._db.ended(stored.run.tenant, child):
                self.cancel(self._db.runs[child])

    def hurry(self, stored: StoredRun) -> None:
        """Makes what is delayed or parked ready, as the run's cancel is asked."""
        for entry in stored.open.values():
            self._db.items.hasten(entry)

    def cancel(self, stored: StoredRun) -> None:
        """Ends a run that nobody works on, else asks its workers to."""
        run_id = stored.run.run_id
        if any(entry.leased for entry in stored.open.values()):
            self._db.sessions[stored.run.session_id].cancel = run_id
            self._db.tell_cancelled(run_id)
        else:
            self.apply(stored, advance(stored.run, CancelRequested()), Cause())

    def activate(self, session: StoredSession, transition: Transition) -> None:
        """Makes a submitted run its session's active one."""
        session.active = transition.run.run_id
        session.start = len(session.messages)
        session.messages.extend(transition.messages)
        self._db.enqueue(self._db.runs[transition.run.run_id], transition)

    def park(self, entry: Entry, run_id: str) -> None:
        """Keeps a committed item until that run has ended; at once if it has."""
        entry.parked_on = run_id
        if self._db.ended(entry.tenant, run_id):
            self._db.items.hasten(entry)

    def _times(self, stored: StoredRun, transition: Transition, now: int) -> dict[str, int]:
        run, before = transition.run, stored.run
        paused_ms = before.paused_ms
        if run.state is RunState.INTERRUPTED:
            stored.paused_since_ms = stored.paused_since_ms or now
        elif stored.paused_since_ms:
            paused_ms += now - stored.paused_since_ms
            stored.paused_since_ms = 0
        times = {"created_ms": before.created_ms, "updated_ms": now, "paused_ms": paused_ms}
        return times | ({"finished_ms": now} if run.state.terminal else {})

    def _end(self, stored: StoredRun, session: StoredSession) -> None:
        run = stored.run
        stored.expires_ms = self._db.now_ms() + self._db.limits.run_ttl_s * 1000
        self._db.live[run.tenant] -= 1
        for key in list(stored.open):
            self._db.drop(stored, key)
        session.waiting = [t for t in session.waiting if t.run.run_id != run.run_id]
        self._unpark(run)
        if session.active != run.run_id:
            return
        session.active = session.cancel = ""
        if session.waiting:
            self.activate(session, session.waiting.pop(0))

    def _unpark(self, run: Run) -> None:
        """Makes the parent's item ready that waits for this run."""
        parent = self._db.runs.get(run.parent.run_id) if run.parent else None
        if run.parent and parent and parent.run.tenant == run.tenant:
            entry = parent.open.get(run.parent.item_key)
            if entry is not None and entry.parked_on == run.run_id:
                self._db.items.hasten(entry)

    def _bury(self, run: Run, step: int, cause: Cause) -> None:
        kept = self._db.dead_letters.setdefault(
            run.tenant, deque(maxlen=self._db.limits.dead_letters)
        )
        kept.append(
            DeadLetter(
                entry_id=self._db.unique(),
                tenant=run.tenant,
                run_id=run.run_id,
                session_id=run.session_id,
                agent=run.agent,
                item_key=cause.item_key,
                step=step,
                attempts=cause.attempt,
                reason=run.error.reason if run.error else "",
                message=run.error.message if run.error else "",
                worker=cause.worker,
                time_ms=self._db.now_ms(),
            )
        )
