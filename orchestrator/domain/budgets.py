"""What tenants and their agents may spend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from orchestrator.domain.base import Value

MOST_MICROS = 2**53 - 1
"""The largest whole number that every part can hold, Redis's scripts among them."""


class Period(StrEnum):
    """DAY and MONTH are those of UTC."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class BudgetRule(Value):
    """In millionths of the currency; a limit of 0 allows nothing."""

    limit_micros: int = Field(ge=0, le=MOST_MICROS)
    period: Period

    def part(self, number: int, parts: int) -> BudgetRule:
        """Returns a part's rule; the limits of all parts add up to this one's."""
        limit = self.limit_micros
        share = limit * (number + 1) // parts - limit * number // parts
        return self.model_copy(update={"limit_micros": share})


class Budgets(Value):
    """`default` is of tenants that `tenants` does not name. `agents` names an agent of every
    tenant that has it, or, as `tenant/agent`, of one.
    """

    default: BudgetRule | None = None
    tenants: Mapping[str, BudgetRule] = Field(default_factory=dict)
    agents: Mapping[str, BudgetRule] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.default or self.tenants or self.agents)

    def of_tenant(self, tenant: str) -> BudgetRule | None:
        return self.tenants.get(tenant, self.default)

    def of_agent(self, tenant: str, agent: str) -> BudgetRule | None:
        return self.agents.get(f"{tenant}/{agent}", self.agents.get(agent)) if agent else None

    def binding(self, tenant: str, agent: str) -> Iterator[tuple[str, BudgetRule]]:
        """Yields what binds a call of the agent: first the tenant's own, whose name is empty."""
        for name, rule in (("", self.of_tenant(tenant)), (agent, self.of_agent(tenant, agent))):
            if rule is not None:
                yield name, rule

    def every(self, tenant: str) -> Iterator[tuple[str, BudgetRule]]:
        """Yields all of the tenant's, by the agent's name, first its own."""
        names = {name.removeprefix(f"{tenant}/") for name in self.agents}
        for name in ("", *sorted(name for name in names if "/" not in name)):
            rule = self.of_agent(tenant, name) if name else self.of_tenant(tenant)
            if rule is not None:
                yield name, rule

    def parts(self, number: int, of: int) -> Budgets:
        """Returns the budgets of one of several equal parts."""
        return Budgets(
            default=self.default and self.default.part(number, of),
            tenants={name: rule.part(number, of) for name, rule in self.tenants.items()},
            agents={name: rule.part(number, of) for name, rule in self.agents.items()},
        )


class BudgetState(Value):
    """A budget now. `agent` is empty for the tenant's own."""

    agent: str
    rule: BudgetRule
    spent_micros: int
    reserved_micros: int


_EACH = {Period.DAY: "micros a day", Period.MONTH: "micros a month", Period.TOTAL: "micros in all"}


def over_budget(budgets: Budgets, tenant: str, agent: str, *, readable: bool = True) -> str:
    """Says why no more may be spent; an empty `agent` is for the tenant's own budget."""
    rule = budgets.of_agent(tenant, agent) if agent else budgets.of_tenant(tenant)
    whose = f"agent {agent}" if agent else f"tenant {tenant}"
    limit = f" of {rule.limit_micros} {_EACH[rule.period]}" if rule else ""
    why = "is spent" if readable else "can't be read, so nothing is spent of it"
    return f"the budget of {whose}{limit} {why}"


def day_of(time_ms: int) -> str:
    """Returns the day of UTC, YYYY-MM-DD."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
