"""The open items of every run: ready, delayed, parked on another run, or leased."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable

from orchestrator.adapters.memory_state.books import Books
from orchestrator.adapters.memory_state.queue import Entry, FairQueue
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, TenantLoad

BARRED_MS, BARRED_MOST_MS = 100, 3200
"""How long an item waits that its agent's budget puts off, at first and at most."""


class Items:
    def __init__(self, *, limits: Limits, now_ms: Callable[[], int], books: Books) -> None:
        self._now_ms = now_ms
        self._books = books
        self._queues = {
            kind: FairQueue(kind=kind, running_limit=limits.running_items, weights=limits.weights)
            for kind in WorkKind
        }
        self._leased: dict[str, Entry] = {}
        self._delayed: dict[str, Entry] = {}
        self._work = {kind: asyncio.Event() for kind in WorkKind}

    def add(self, entry: Entry, *, delay_ms: int) -> None:
        """Makes an item ready that is in none of the four states, now or after the delay."""
        entry.ready_ms = self._now_ms() + delay_ms
        if delay_ms > 0:
            self._delayed[entry.item.key] = entry
        else:
            self._push(entry)
        self._work[entry.item.kind].set()

    def remove(self, entry: Entry, charge: int | None = None) -> None:
        """Takes an item away, whatever it is doing; a lease on it is lost."""
        if entry.leased:
            self.end_lease(entry, charge)
        elif entry.parked_on:
            entry.parked_on = ""
        elif self._delayed.pop(entry.item.key, None) is None:
            self._queues[entry.item.kind].drop(entry)

    def hasten(self, entry: Entry) -> None:
        """Makes an item ready now that is delayed or parked."""
        if self._delayed.pop(entry.item.key, None) is None:
            if not entry.parked_on:
                return
            entry.parked_on = ""
            entry.attempt = 0
        self.add(entry, delay_ms=0)

    def lease(
        self, kind: WorkKind, *, worker: str, now_ms: int, expires_ms: int, reserve_micros: int
    ) -> Entry | None:
        self.promote(now_ms)
        entry = self._next(kind, now_ms, reserve_micros)
        if entry is None:
            self._work[kind].clear()
            return None
        self._queues[kind].take(entry)
        entry.attempt += 1
        entry.barred = 0
        entry.nonce = secrets.token_hex(12)
        entry.worker = worker
        entry.expires_ms = expires_ms
        self._leased[entry.item.key] = entry
        return entry

    def _next(self, kind: WorkKind, now_ms: int, reserve_micros: int) -> Entry | None:
        """The next item that no budget bars, with what it reserves of them."""
        queue, books = self._queues[kind], self._books
        while entry := queue.peek():
            entry.over_budget = None
            tenant, agent = entry.tenant, entry.agent
            if kind is not WorkKind.REASON or not books.is_bound(tenant, agent):
                return entry
            barred = books.verdict(now_ms, tenant, agent, reserve_micros)
            if barred is None:
                entry.held = reserve_micros
                books.hold(tenant, agent, reserve_micros)
                return entry
            if barred.is_spent:
                entry.over_budget = barred.whose
                return entry
            if barred.whose:
                delay_ms = min(BARRED_MS * 2**entry.barred, BARRED_MOST_MS)
                entry.barred += 1
                queue.drop(entry)
                self.add(entry, delay_ms=delay_ms)
            else:
                queue.bar(tenant)
        return None

    def look_again(self, tenant: str) -> None:
        """A reservation of the tenant has ended."""
        self._queues[WorkKind.REASON].unbar(tenant)
        self._work[WorkKind.REASON].set()

    def end_lease(self, entry: Entry, charge: int | None) -> None:
        """`charge` None leaves what the claim charged."""
        del self._leased[entry.item.key]
        entry.nonce = entry.worker = ""
        if entry.held:
            self._books.hold(entry.tenant, entry.agent, -entry.held)
            entry.held = 0
        self._queues[entry.item.kind].release(entry, charge)
        self._work[entry.item.kind].set()

    def held(self, key: str, nonce: str) -> Entry | None:
        entry = self._leased.get(key)
        return entry if entry and entry.nonce == nonce else None

    def expired(self, *, now_ms: int, limit: int) -> list[Entry]:
        found = (e for e in self._leased.values() if e.expires_ms <= now_ms)
        return sorted(found, key=lambda e: (e.expires_ms, e.item.key.encode()))[:limit]

    def promote(self, now_ms: int) -> None:
        """Makes delayed items ready whose time has come."""
        due = (e for e in self._delayed.values() if e.ready_ms <= now_ms)
        for entry in sorted(due, key=lambda e: (e.ready_ms, e.item.key.encode())):
            del self._delayed[entry.item.key]
            self._push(entry)

    def loads(self, kind: WorkKind) -> tuple[TenantLoad, ...]:
        self.promote(self._now_ms())
        return self._queues[kind].loads()

    async def wait(self, kind: WorkKind, *, timeout_s: float) -> None:
        due_ms = min((e.ready_ms for e in self._delayed.values()), default=None)
        if due_ms is not None:
            timeout_s = min(timeout_s, max(due_ms - self._now_ms(), 0) / 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._work[kind].wait()

    def _push(self, entry: Entry) -> None:
        self._queues[entry.item.kind].push(entry)
        self._work[entry.item.kind].set()
