"""What the four stores share: one process's state, changed between awaits only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.adapters.memory_state.queue import Entry, FairQueue
from orchestrator.domain.agents import Agent
from orchestrator.domain.errors import NotFound
from orchestrator.domain.events import Payload, RunEvent
from orchestrator.domain.ids import shard_from
from orchestrator.domain.machine import Transition
from orchestrator.domain.messages import Message
from orchestrator.domain.runs import Run, StepRecord
from orchestrator.domain.sessions import Session
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, Registration


@dataclass(slots=True)
class StoredRun:
    """`done` holds the nonce that committed each item, `open` the items that are not done."""

    run: Run
    version: int = 1
    seq: int = 0
    events: list[RunEvent] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    open: dict[str, Entry] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    expires_ms: int = 0


@dataclass(slots=True)
class StoredSession:
    """`start` is where the messages of the active run begin, `waiting` what runs next."""

    session_id: str
    tenant: str
    agent: str
    labels: Mapping[str, str]
    created_ms: int
    updated_ms: int
    messages: list[Message] = field(default_factory=list)
    active: str = ""
    cancel: str = ""
    start: int = 0
    waiting: list[Transition] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def view(self) -> Session:
        return Session(
            session_id=self.session_id,
            tenant=self.tenant,
            agent=self.agent,
            labels=self.labels,
            message_count=len(self.messages),
            active_run_id=self.active,
            created_ms=self.created_ms,
            updated_ms=self.updated_ms,
        )


class Database:
    def __init__(self, *, limits: Limits, now_ms: Callable[[], int]) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.agents: dict[tuple[str, str], list[Agent]] = {}
        self.sessions: dict[str, StoredSession] = {}
        self.runs: dict[str, StoredRun] = {}
        self.requests: dict[tuple[str, str], tuple[int, Registration]] = {}
        self.deleted_sessions: set[str] = set()
        self.leased: dict[str, Entry] = {}
        self.queues = {
            kind: FairQueue(kind=kind, running_limit=limits.running_items, weights=limits.weights)
            for kind in WorkKind
        }
        self.work = {kind: asyncio.Event() for kind in WorkKind}
        self.watchers: dict[str, set[asyncio.Event]] = {}
        self._numbers: Iterator[int] = iter(range(1, 1 << 62))

    def unique(self) -> str:
        return f"{next(self._numbers):016d}"

    def session(self, tenant: str, session_id: str) -> StoredSession:
        shard_from(session_id, field="session_id")
        found = self.sessions.get(session_id)
        if found is None or found.tenant != tenant:
            raise NotFound(f"there is no session {session_id}")
        return found

    def run(self, tenant: str, run_id: str) -> StoredRun:
        shard_from(run_id, field="run_id")
        found = self.runs.get(run_id)
        if found is None or found.run.tenant != tenant:
            raise NotFound(f"there is no run {run_id}")
        return found

    def append(
        self, stored: StoredRun, payloads: tuple[Payload, ...], *, step: int, attempt: int
    ) -> None:
        now = self.now_ms()
        for payload in payloads:
            stored.seq += 1
            stored.events.append(
                RunEvent(
                    run_id=stored.run.run_id,
                    seq=stored.seq,
                    step=step,
                    attempt=attempt,
                    time_ms=now,
                    payload=payload,
                )
            )
        del stored.events[: -self.limits.events]
        for watcher in self.watchers.get(stored.run.run_id, ()):
            watcher.set()

    def enqueue(self, stored: StoredRun, transition: Transition) -> None:
        for item in transition.enqueue:
            entry = Entry(
                item=item,
                tenant=stored.run.tenant,
                session_id=stored.run.session_id,
                high=stored.run.priority > 0,
                order=next(self._numbers),
            )
            stored.open[item.key] = entry
            self.queues[item.kind].push(entry)
            self.work[item.kind].set()

    def forget(self, stored: StoredRun, entry: Entry, charge: int | None) -> None:
        """Removes an item, whether it is queued or leased."""
        queue = self.queues[entry.item.kind]
        if entry.nonce:
            del self.leased[entry.item.key]
            entry.nonce = ""
            queue.release(entry, charge)
            self.work[entry.item.kind].set()
        else:
            queue.drop(entry)
        del stored.open[entry.item.key]

    def expire(self) -> None:
        """Drops what has outlived its time to live."""
        now = self.now_ms()
        for run_id in [r for r, s in self.runs.items() if 0 < s.expires_ms <= now]:
            session = self.sessions.get(self.runs.pop(run_id).run.session_id)
            if session is not None:
                session.runs.remove(run_id)
        idle_ms = self.limits.session_ttl_s * 1000
        for key, session in list(self.sessions.items()):
            if not session.active and session.updated_ms + idle_ms <= now:
                del self.sessions[key]
        for request in [r for r, (until, _) in self.requests.items() if until <= now]:
            del self.requests[request]
