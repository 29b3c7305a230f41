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
    """

    item: WorkItem
    tenant: str
    session_id: str
    high: bool
    order: int = 0
    attempt: int = 0
    ready_ms: int = 0
    parked_on: str = ""
    nonce: str = ""
    worker: str = ""
    expires_ms: int = 0
    given_back: str = ""
    extra: float = 0.0

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

    def pop(self) -> Entry | None:
        """Takes the next item of the tenant that was served least; it is running then."""
        if not self._ready:
            return None
        tenant = min(self._ready, key=self._place)
        entry = self._pick(tenant)
        self._queued[tenant].remove(entry)
        entry.extra = HOLD[self.kind] / self._weight(tenant)
        self._counters[tenant] = self._counters.get(tenant, 0.0) + entry.extra
        self._running[tenant] += 1
        self._settle(tenant)
        return entry

    def release(self, entry: Entry, charge: int | None) -> None:
        """Ends an item's running; `charge` None leaves what its claim charged."""
        if charge is not None:
            self._served[entry.tenant] += max(charge, 1)
            due = max(charge, 1) / self._weight(entry.tenant) - entry.extra
            self._counters[entry.tenant] = self._counters.get(entry.tenant, 0.0) + due
        self._running[entry.tenant] -= 1
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
        """A tenant is ready while it has items queued and may run more."""
        if self._queued.get(tenant) and self._running[tenant] < self.running_limit:
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
