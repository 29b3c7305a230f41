"""What was spent and what is reserved: the sums behind the ledger, and the budgets' verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.domain.budgets import BudgetRule, Budgets, Period, day_of
from orchestrator.domain.runs import ModelCall, usage_of
from orchestrator.domain.usage import Totals, totals_of

Sums = defaultdict[str, Totals]  # by model


def no_sums() -> Sums:
    return defaultdict(Totals)


@dataclass(slots=True)
class Spent:
    """On the day and in the month of the last call (`on`), and in all."""

    on: str = ""
    sums: Counter[Period] = field(default_factory=Counter)

    def add(self, today: str, micros: int) -> None:
        if self.on < today:
            if self.on[:7] < today[:7]:
                self.sums[Period.MONTH] = 0
            self.sums[Period.DAY] = 0
            self.on = today
        for period in Period:
            self.sums[period] += micros

    def within(self, period: Period, today: str) -> int:
        ended = {
            Period.DAY: self.on < today,
            Period.MONTH: self.on[:7] < today[:7],
            Period.TOTAL: False,
        }
        return 0 if ended[period] else self.sums[period]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of the budgets bars a call: `whose`, which `is_spent`, or is only reserved."""

    whose: str
    is_spent: bool


@dataclass(slots=True)
class Books:
    """`reserved` and `spent` are by tenant and agent; a tenant's own have an empty agent."""

    budgets: Budgets
    usage_days: int
    by_day: dict[tuple[str, str], defaultdict[tuple[str, str], Totals]] = field(
        default_factory=dict
    )
    spent: defaultdict[tuple[str, str], Spent] = field(default_factory=lambda: defaultdict(Spent))
    reserved: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(
        self, now_ms: int, tenant: str, agent: str, calls: Sequence[ModelCall], *others: Sums
    ) -> None:
        """Books the calls in the day, for the budgets, and in `others`."""
        today = day_of(now_ms)
        for model, taken in totals_of(calls).items():
            day = self.by_day.setdefault((tenant, today), defaultdict(Totals))
            day[agent, model] += taken
            for sums in others:
                sums[model] += taken
        cost = usage_of(calls).cost_micros
        if cost:
            for name in _scopes(agent):
                self.spent[tenant, name].add(today, cost)

    def hold(self, tenant: str, agent: str, micros: int) -> None:
        """Reserves so much more; below zero: so much less."""
        for name in _scopes(agent):
            self.reserved[tenant, name] += micros

    def is_bound(self, tenant: str, agent: str) -> bool:
        return any(self.budgets.binding(tenant, agent))

    def verdict(self, now_ms: int, tenant: str, agent: str, micros: int) -> Verdict | None:
        waits_for: Verdict | None = None
        for name, rule in self.budgets.binding(tenant, agent):
            spent = self.spent_of(now_ms, tenant, name, rule)
            if spent >= rule.limit_micros:
                return Verdict(name, is_spent=True)
            held = self.reserved[tenant, name]
            if held and spent + held + micros > rule.limit_micros:
                waits_for = waits_for or Verdict(name, is_spent=False)
        return waits_for

    def spent_of(self, now_ms: int, tenant: str, name: str, rule: BudgetRule) -> int:
        return self.spent[tenant, name].within(rule.period, day_of(now_ms))

    def expire(self, now_ms: int) -> None:
        oldest = day_of(now_ms - self.usage_days * 86_400_000)
        for key in [key for key in self.by_day if key[1] < oldest]:
            del self.by_day[key]


def _scopes(agent: str) -> tuple[str, ...]:
    return ("", agent) if agent else ("",)
