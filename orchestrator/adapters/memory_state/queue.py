"""The fair queue: a Virtual Token Counter for each tenant.

From "Fairness in Serving Large Language Models" (OSDI 2024): serve the tenant
that was served least, by weight, and lift a tenant that returns to the least
of those that stayed, so that idling earns no credit. Here the price of an item
is not known before it ends: a claim charges `HOLD` and the commit the rest.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.domain.work import WorkItem, WorkKind
from orchestrator.ports.state import TenantLoad

HOLD = {WorkKind.REASON: 100.0, WorkKind.TOOL: 1.0}
NORMAL_TURN = 4  # every fourth pick is of normal priority though there is high


@dataclass(slots=True)
class Entry:
    """An open item: ready, delayed, parked or leased.

    `ready_ms` is when it became ready, or will. `extra` is what its claim charged,
    still to be settled, `given_back` the nonce of the lease that was, for a repetition.
    `held` is what it reserved of budgets, `over_budget` whose budget was spent when it was
    leased, `barred` how often in a row a budget put it off.
    """

    item: WorkItem
    tenant: str
    session_id: str
    high: bool
    agent: str = ""
    order: int = 0
    attempt: int = 0
    ready_ms: int = 0
    parked_on: str = ""
    nonce: str = ""
    worker: str = ""
    expires_ms: int = 0
    given_back: str = ""
    extra: float = 0.0
    held: int = 0
    over_budget: str | None = None
    barred: int = 0

    @property
    def leased(self) -> bool:
        return bool(self.nonce)


@dataclass(slots=True)
class FairQueue:
    """The ready items of one kind, and who may have the next."""

    kind: WorkKind
    running_limit: int
    weights: Mapping[str, float]
    _queued: dict[str, list[Entry]] = field(default_factory=dict)
    _counters: dict[str, float] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _running: Counter[str] = field(default_factory=Counter)
    _turns: Counter[str] = field(default_factory=Counter)
    _served: Counter[str] = field(default_factory=Counter)
    _barred: set[str] = field(default_factory=set)
    _floor: float = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._queued.values()))

    @property
    def running(self) -> int:
        return self._running.total()

    def loads(self) -> tuple[TenantLoad, ...]:
        tenants = sorted({*self._counters, *self._queued})
        return tuple(
            TenantLoad(
                tenant=tenant,
                weight=self._weight(tenant),
                served=float(self._served[tenant]),
                queued=len(self._queued.get(tenant, ())),
                running=self._running[tenant],
            )
            for tenant in tenants
        )

    def push(self, entry: Entry) -> None:
        queue = self._queued.setdefault(entry.tenant, [])
        if not queue:
            self._lift(entry.tenant)
        insort(queue, entry, key=lambda e: e.order)
        self._settle(entry.tenant)

    def peek(self) -> Entry | None:
        """Returns the next item of the tenant that was served least."""
        if not self._ready:
            return None
        return self._pick(min(self._ready, key=self._place))

    def take(self, entry: Entry) -> None:
        """Takes an item that `peek` returned; it is running then."""
        tenant = entry.tenant
        self._queued[tenant].remove(entry)
        entry.extra = HOLD[self.kind] / self._weight(tenant)
        self._counters[tenant] = self._counters.get(tenant, 0.0) + entry.extra
        self._running[tenant] += 1
        self._settle(tenant)

    def bar(self, tenant: str) -> None:
        """Leaves a tenant's items alone until one of them ends, or `unbar`."""
        self._barred.add(tenant)
        self._settle(tenant)

    def unbar(self, tenant: str) -> None:
        self._barred.discard(tenant)
        self._settle(tenant)

    def release(self, entry: Entry, charge: int | None) -> None:
        """Ends an item's running; `charge` None leaves what its claim charged."""
        if charge is not None:
            self._served[entry.tenant] += max(charge, 1)
            due = max(charge, 1) / self._weight(entry.tenant) - entry.extra
            self._counters[entry.tenant] = self._counters.get(entry.tenant, 0.0) + due
        self._running[entry.tenant] -= 1
        self._barred.discard(entry.tenant)
        self._settle(entry.tenant)

    def drop(self, entry: Entry) -> None:
        """Removes an item that is queued."""
        self._queued[entry.tenant].remove(entry)
        self._settle(entry.tenant)

    def _pick(self, tenant: str) -> Entry:
        queue = self._queued[tenant]
        high = next((e for e in queue if e.high), None)
        normal = next((e for e in queue if not e.high), None)
        if high is None or normal is None:
            return queue[0]
        self._turns[tenant] += 1
        return high if self._turns[tenant] % NORMAL_TURN else normal

    def _lift(self, tenant: str) -> None:
        ahead = min(self._ready, key=self._place, default=None)
        least = self._floor if ahead is None else self._settled(ahead)
        self._counters[tenant] = max(self._counters.get(tenant, 0.0), least)

    def _settle(self, tenant: str) -> None:
        """A tenant is ready while it has items queued, may run more, and has the budget."""
        if not self._queued.get(tenant):
            self._barred.discard(tenant)
        may_run = self._running[tenant] < self.running_limit and tenant not in self._barred
        if self._queued.get(tenant) and may_run:
            self._ready.add(tenant)
            return
        if tenant in self._ready:
            self._ready.remove(tenant)
            self._floor = self._settled(tenant)
        if not self._queued.get(tenant):
            self._queued.pop(tenant, None)

    def _place(self, tenant: str) -> tuple[float, bytes]:
        return self._counters.get(tenant, 0.0), tenant.encode()

    def _settled(self, tenant: str) -> float:
        """The counter without what claims charged for items that are still running."""
        held = self._running[tenant] * HOLD[self.kind] / self._weight(tenant)
        return self._counters.get(tenant, 0.0) - held

    def _weight(self, tenant: str) -> float:
        return self.weights.get(tenant, 1.0)
