"""What the four stores share: one process's state, changed between awaits only."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.adapters.memory_state.books import Books, Sums, no_sums
from orchestrator.adapters.memory_state.items import Items
from orchestrator.adapters.memory_state.queue import Entry
from orchestrator.domain.agents import Agent
from orchestrator.domain.errors import NotFound
from orchestrator.domain.events import Payload, RunEvent
from orchestrator.domain.ids import shard_from
from orchestrator.domain.machine import Transition
from orchestrator.domain.messages import Message
from orchestrator.domain.runs import Run, StepRecord
from orchestrator.domain.sessions import Session
from orchestrator.domain.work import DeadLetter, WorkItem, WorkKind
from orchestrator.ports.state import Limits, Registration


@dataclass(slots=True)
class StoredRun:
    """`open` holds the items that are not done, `committed` the nonces of leases that were
    committed, `paused_since_ms` when the run was interrupted, 0 while it is not.
    """

    run: Run
    version: int = 1
    seq: int = 0
    events: list[RunEvent] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    open: dict[str, Entry] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    paused_since_ms: int = 0
    expires_ms: int = 0
    usage: Sums = field(default_factory=no_sums)


@dataclass(slots=True)
class StoredSession:
    """`start` is where the messages of the active run begin, `cancel` the active run when
    its cancel is asked, `waiting` what runs next.
    """

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
    usage: Sums = field(default_factory=no_sums)

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


@dataclass(frozen=True, slots=True)
class Held:
    """What calls that belong to no run have reserved."""

    tenant: str
    agent: str
    micros: int
    expires_ms: int


class Database:
    def __init__(self, *, limits: Limits, now_ms: Callable[[], int]) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.agents: dict[tuple[str, str], list[Agent]] = {}
        self.sessions: dict[str, StoredSession] = {}
        self.runs: dict[str, StoredRun] = {}
        self.requests: dict[tuple[str, str], tuple[int, Registration]] = {}
        self.deleted_sessions: set[str] = set()
        self.live: Counter[str] = Counter()
        self.dead_letters: dict[str, deque[DeadLetter]] = {}
        self.books = Books(limits.budgets, limits.usage_days)
        self.held: dict[str, Held] = {}
        self.settled: set[str] = set()
        self.items = Items(limits=limits, now_ms=now_ms, books=self.books)
        self.watchers: dict[str, set[asyncio.Event]] = {}
        self.cancel_listeners: set[asyncio.Queue[str]] = set()
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
            self.drop(stored, item.key)
            entry = stored.open[item.key] = Entry(
                item=item,
                tenant=stored.run.tenant,
                session_id=stored.run.session_id,
                high=stored.run.priority > 0,
                agent=_agent_of(item, stored.run),
                order=next(self._numbers),
            )
            self.items.add(entry, delay_ms=item.delay_ms)

    def drop(self, stored: StoredRun, key: str) -> None:
        entry = stored.open.pop(key, None)
        if entry is not None:
            self.items.remove(entry)

    def ended(self, tenant: str, run_id: str) -> bool:
        """Whether the run has ended, is gone, or never was this tenant's."""
        found = self.runs.get(run_id)
        return found is None or found.run.tenant != tenant or found.run.state.terminal

    def cancel_asked(self, entry: Entry) -> bool:
        parent = entry.item.parent_run_id
        return self.sessions[entry.session_id].cancel == entry.item.run_id or (
            bool(parent) and self.ended(entry.tenant, parent)
        )

    def tell_cancelled(self, run_id: str) -> None:
        for listener in self.cancel_listeners:
            listener.put_nowait(run_id)

    def give_back(self, token: str) -> None:
        """Ends a reservation; who waited for it may go on."""
        held = self.held.pop(token, None)
        if held is not None:
            self.books.hold(held.tenant, held.agent, -held.micros)
            self.items.look_again(held.tenant)

    def expire(self) -> None:
        """Drops what has outlived its time to live."""
        now = self.now_ms()
        self.books.expire(now)
        for token in [token for token, held in self.held.items() if held.expires_ms <= now]:
            self.give_back(token)
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


def _agent_of(item: WorkItem, run: Run) -> str:
    return run.agent.partition("@")[0] if item.kind is WorkKind.REASON else ""
