"""The ledger in memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.memory_state.books import Sums
from orchestrator.adapters.memory_state.database import Database, Held
from orchestrator.domain.budgets import BudgetState, day_of, over_budget
from orchestrator.domain.errors import Exhausted
from orchestrator.domain.runs import ModelCall
from orchestrator.domain.usage import UsageRow
from orchestrator.ports.ledger import Ledger, Reservation


class MemoryLedger(Ledger):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def reserve(
        self, tenant: str, agent: str, micros: int, *, ttl_s: float = 300.0
    ) -> Reservation:
        now, books = self._db.now_ms(), self._db.books
        reservation = Reservation(self._db.unique(), tenant, agent)
        if not books.is_bound(tenant, agent):
            return reservation
        barred = books.verdict(now, tenant, agent, micros)
        if barred and barred.is_spent:
            raise Exhausted(over_budget(books.budgets, tenant, barred.whose), reason="BUDGET")
        if barred:
            whose = f"agent {barred.whose}" if barred.whose else f"tenant {tenant}"
            raise Exhausted(
                f"the rest of the budget of {whose} is reserved for calls in hand",
                reason="BUDGET",
                retry_after_s=0.5,
            )
        books.hold(tenant, agent, micros)
        expires_ms = now + int(ttl_s * 1000)
        self._db.held[reservation.token] = Held(tenant, agent, micros, expires_ms)
        return reservation

    async def settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        if reservation.token in self._db.settled:
            return
        self._db.settled.add(reservation.token)
        self._db.give_back(reservation.token)
        now = self._db.now_ms()
        self._db.books.add(now, reservation.tenant, reservation.agent, calls)

    async def today(self) -> str:
        return day_of(self._db.now_ms())

    async def by_day(self, tenant: str, days: Sequence[str]) -> tuple[UsageRow, ...]:
        return tuple(
            UsageRow(taken, day=day, agent=agent, model=model)
            for day in sorted(days)
            for (agent, model), taken in sorted(
                self._db.books.by_day.get((tenant, day), {}).items()
            )
        )

    async def of_session(self, tenant: str, session_id: str) -> tuple[UsageRow, ...]:
        return _rows(self._db.session(tenant, session_id).usage)

    async def of_run(self, tenant: str, run_id: str) -> tuple[UsageRow, ...]:
        return _rows(self._db.run(tenant, run_id).usage)

    async def budgets(self, tenant: str) -> tuple[BudgetState, ...]:
        now, books = self._db.now_ms(), self._db.books
        return tuple(
            BudgetState(
                agent=name,
                rule=rule,
                spent_micros=books.spent_of(now, tenant, name, rule),
                reserved_micros=books.reserved[tenant, name],
            )
            for name, rule in books.budgets.every(tenant)
        )


def _rows(sums: Sums) -> tuple[UsageRow, ...]:
    return tuple(UsageRow(taken, model=model) for model, taken in sorted(sums.items()))
