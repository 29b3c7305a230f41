"""The durable state: agents, sessions, runs, their queue and their events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from orchestrator.domain.agents import Agent, AgentSpec
from orchestrator.domain.budgets import Budgets
from orchestrator.domain.events import Payload, RunEvent
from orchestrator.domain.machine import Transition
from orchestrator.domain.messages import Message
from orchestrator.domain.runs import Run, StepRecord
from orchestrator.domain.sessions import Session
from orchestrator.domain.work import Claim, DeadLetter, Lease, WorkKind
from orchestrator.ports.ledger import Ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing. `next_token` is empty at the end."""

    items: tuple[T, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the state. What says "in a shard" is counted in each shard for itself.

    `weights` are the shares of tenants in the fair queue; a tenant it does not
    name has 1. A run lives `run_ttl_s` after its end, a session `session_ttl_s`
    after its last run, a request id `request_ttl_s` after its first use. What calls
    of models took is kept for `usage_days`. `budgets` are divided evenly among shards.
    """

    max_attempts: int = 5
    live_runs: int = 20_000  # accepted and not ended, a tenant's, in a shard
    waiting_runs: int = 50  # behind the active run of a session
    running_items: int = 512  # leased at once, of one kind, a tenant's, in a shard
    events: int = 10_000  # kept of a run
    dead_letters: int = 10_000  # kept in a shard
    request_ttl_s: int = 86_400
    run_ttl_s: int = 7 * 86_400
    session_ttl_s: int = 30 * 86_400
    weights: Mapping[str, float] = field(default_factory=dict)
    usage_days: int = 400
    budgets: Budgets = Budgets()

    def __post_init__(self) -> None:
        if self.request_ttl_s > min(self.run_ttl_s, self.session_ttl_s):
            raise ValueError(
                f"request_ttl_s {self.request_ttl_s} must not be above run_ttl_s {self.run_ttl_s} "
                f"or session_ttl_s {self.session_ttl_s}: a repeated request could run twice"
            )


class AgentStore(ABC):
    @abstractmethod
    async def put(self, tenant: str, name: str, spec: AgentSpec, *, builtin: bool = False) -> Agent:
        """Stores a new version, or returns the newest one when its spec is the same.

        A `builtin` spec is stored only where there is none yet or the newest is `builtin`, too;
        else the newest is returned.
        """

    @abstractmethod
    async def get(self, tenant: str, name: str, version: int | None) -> Agent:
        """Returns that version, or the newest one for None.

        Raises:
            NotFound: no such agent or version of this tenant.
        """

    @abstractmethod
    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Agent]:
        """Returns the newest version of each agent, by name."""


class SessionStore(ABC):
    @abstractmethod
    async def create(self, tenant: str, *, agent: str, labels: Mapping[str, str]) -> Session: ...

    @abstractmethod
    async def get(self, tenant: str, session_id: str) -> Session:
        """Raises NotFound, also for another tenant's session."""

    @abstractmethod
    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Session]:
        """Returns sessions, newest first."""

    @abstractmethod
    async def messages(
        self, tenant: str, session_id: str, *, start: int = 0, limit: int | None = None
    ) -> tuple[Message, ...]:
        """Returns messages from index `start` on; a negative `start` counts from the end."""

    @abstractmethod
    async def fork(self, tenant: str, session_id: str) -> Session:
        """Returns a new session with a copy of the messages, without those of an active run.

        Raises:
            NotFound: no such session.
        """

    @abstractmethod
    async def delete(self, tenant: str, session_id: str) -> None:
        """Deletes the session with its messages and runs.

        Raises:
            NotFound: no such session.
            FailedPrecondition: SESSION_BUSY.
        """


@dataclass(frozen=True, slots=True)
class Registration:
    """Which run a request id stands for."""

    run_id: str
    session_id: str
    fingerprint: str
    created: bool


class LeaseState(StrEnum):
    HELD = "held"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel_requested"


@dataclass(frozen=True, slots=True)
class Versioned:
    """A run and the version of it that was read."""

    run: Run
    version: int


@dataclass(frozen=True, slots=True)
class TenantLoad:
    """A tenant's place in the fair queue of one kind, over all shards.

    `served` is what it was charged since ever (tokens of inference, or tool calls),
    `queued` what is ready to be claimed, `running` what is leased.
    """

    tenant: str
    weight: float
    served: float
    queued: int
    running: int


class RunStore(ABC):
    """Every write is one atomic script, safe to repeat: exactly once per operation."""

    @abstractmethod
    async def register(
        self, tenant: str, request_id: str, *, fingerprint: str, session_id: str, near: str = ""
    ) -> Registration:
        """Binds a request id to a new run id, or returns what it is already bound to.

        An empty `session_id` makes the id of a new session, in the shard of the run
        `near` when that is given. The caller compares fingerprints: another one means
        the request id was used for another body.
        """

    @abstractmethod
    async def registered(self, tenant: str, request_id: str) -> Registration | None:
        """Returns what a request id is bound to; None when it is unknown, or not any more."""

    @abstractmethod
    async def submit(self, transition: Transition, *, session_labels: Mapping[str, str]) -> bool:
        """Accepts the run of a `Submitted` transition; creates its session when it is new.

        Returns False, changing nothing, when that run was already accepted. When a run
        with a `parent` ends, the parent's item that is parked on it is queued again.

        Raises:
            NotFound: the session belongs to nobody or to another tenant.
            FailedPrecondition: SESSION_BUSY under REJECT.
            Exhausted: QUEUE_FULL, with `retry_after_s`.
        """

    @abstractmethod
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
        """Leases up to `limit` items, fairly among tenants; empty when there is no work.

        The first claim of a queued run makes it RUNNING and says so in an event;
        a claim of a step that was claimed before appends STEP_RESTARTED. Each claim
        brings the session's newest `history` messages. An item whose run's cancel was
        asked, or whose parent run has ended, comes with `cancel_requested`.

        An inference reserves `reserve_micros`, what it may cost, of the budgets that bind
        it, until its lease ends: where those leave as much, or where something is left and
        nothing is reserved. Where only reservations are in the way, it waits for them, and
        that is no attempt. With a budget that is spent it comes with `over_budget`.
        """

    @abstractmethod
    async def wait_for_work(self, kind: WorkKind, *, timeout_s: float) -> None:
        """Returns when there may be work, or after the timeout."""

    @abstractmethod
    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> tuple[LeaseState, ...]:
        """Prolongs the leases; says which are lost and which runs are to be cancelled."""

    @abstractmethod
    async def emit(self, lease: Lease, payloads: Sequence[Payload]) -> None:
        """Appends events of a running item.

        Raises:
            StaleLease: the lease is not held any more; nothing was written.
        """

    @abstractmethod
    async def commit(
        self, claim: Claim, transition: Transition, *, emitted: Sequence[Payload] = ()
    ) -> None:
        """Writes the item's outcome and drops the lease, or does nothing.

        `emitted` are events of the item that `emit` was not asked to write; they come
        before the transition's.

        Raises:
            StaleLease: the lease is not held any more.
            VersionConflict: the run changed since `claim.version`; the lease is still
                held. Read the run again (`refresh`), decide again, commit again.
        """

    @abstractmethod
    async def refresh(self, claim: Claim) -> Claim:
        """Returns the claim with the run and version as they are now.

        Raises:
            StaleLease: the run is gone.
        """

    @abstractmethod
    async def release(self, lease: Lease, *, delay_ms: int = 0, counts: bool = True) -> None:
        """Gives an item back: it may be claimed again after the delay.

        Without `counts` the attempt is given back, too: the item was not at fault.

        Raises:
            StaleLease: the lease is not held any more.
        """

    @abstractmethod
    async def change(self, transition: Transition, *, version: int) -> None:
        """Writes a transition that belongs to no lease: an answer, a deadline.

        Raises:
            NotFound: the run is gone.
            VersionConflict: the run changed since it was read: read, decide again.
        """

    @abstractmethod
    async def overdue(self, *, limit: int) -> tuple[Versioned, ...]:
        """Returns runs past their timeout that nobody works on. Interrupted time is not counted."""

    @abstractmethod
    async def orphans(self, *, limit: int) -> tuple[Run, ...]:
        """Returns runs that go on though the run that started them has ended.

        It may leave out one that it looked at a moment ago.
        """

    @abstractmethod
    def cancels(self) -> AsyncIterator[str]:
        """Yields the ids of runs whose cancel is asked, as it happens.

        It may miss some, and may repeat some: `extend` and `claim` tell for sure.
        """

    @abstractmethod
    async def loads(self, kind: WorkKind) -> tuple[TenantLoad, ...]:
        """Returns what the fair queue knows of each tenant that has or had work."""

    @abstractmethod
    async def cancel(self, tenant: str, run_id: str) -> Run:
        """Ends the run when nobody works on it, else asks its workers to.

        `cancels`, `extend` and the next `claim` tell them. Returns the run as it is
        then; one that had ended before stays as it is.

        Raises:
            NotFound: no such run of this tenant.
        """

    @abstractmethod
    async def reap(self, *, limit: int) -> int:
        """Queues items with expired leases again, fails runs out of attempts; returns how many.

        A run that fails so leaves a dead letter. Also makes delayed items ready whose
        time has come.
        """

    @abstractmethod
    async def read(self, tenant: str, run_id: str) -> Versioned:
        """Raises NotFound, also for another tenant's run."""

    @abstractmethod
    async def get(self, tenant: str, run_id: str) -> Run:
        """Raises NotFound, also for another tenant's run."""

    @abstractmethod
    async def steps(self, tenant: str, run_id: str) -> tuple[StepRecord, ...]: ...

    @abstractmethod
    async def list(self, tenant: str, *, session_id: str, limit: int, token: str) -> Page[Run]:
        """Returns runs, newest first; an empty `session_id` means all of the tenant's."""


class DeadLetters(ABC):
    """What failed because it was tried in vain. Bounded: the oldest entries go."""

    @abstractmethod
    async def list(self, tenant: str, *, limit: int, token: str) -> Page[DeadLetter]:
        """Returns entries, newest first."""

    @abstractmethod
    async def get(self, tenant: str, entry_id: str) -> DeadLetter:
        """Raises NotFound, also for another tenant's entry."""

    @abstractmethod
    async def remove(self, tenant: str, entry_ids: Sequence[str]) -> int:
        """Returns how many there were; others are left alone."""


class EventFeed(ABC):
    """Events of runs, for watchers. One watcher costs no connection of its own."""

    @abstractmethod
    async def read(
        self, tenant: str, run_id: str, *, after_seq: int, limit: int
    ) -> tuple[RunEvent, ...]:
        """Returns stored events after `after_seq`.

        Raises:
            NotFound: no such run of this tenant.
            OutOfRange: EVENTS_TRIMMED; metadata `earliest_seq` says what is left.
        """

    @abstractmethod
    def follow(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncIterator[RunEvent]:
        """Yields every event after `after_seq` once, in order, up to the terminal one."""


@dataclass(frozen=True, slots=True)
class State:
    """The stores over one database."""

    agents: AgentStore
    sessions: SessionStore
    runs: RunStore
    feed: EventFeed
    dead_letters: DeadLetters
    ledger: Ledger
