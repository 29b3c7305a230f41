"""What the tenant's calls of models took and cost, and what its budgets leave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from orchestrator.api import limits
from orchestrator.api.sessions import check_run_id, check_session_id
from orchestrator.domain.budgets import BudgetState
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.ids import parse_agent
from orchestrator.domain.usage import Totals, UsageRow
from orchestrator.ports.ledger import Ledger

DEFAULT_DAYS = 30
MOST_DAYS = 400
MOST_ROWS = 10_000


class GroupBy(StrEnum):
    DAY = "day"
    AGENT = "agent"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Days are YYYY-MM-DD, of UTC, both included; what is empty is not asked for."""

    first_day: str = ""
    last_day: str = ""
    agent: str = ""
    model: str = ""
    group_by: tuple[GroupBy, ...] = ()
    session_id: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class UsageReport:
    rows: tuple[UsageRow, ...]
    total: Totals


class UsageReports:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def get(self, tenant: str, query: UsageQuery) -> UsageReport:
        """Returns the sums of each group, in order; with no calls there are no groups.

        Raises:
            InvalidInput: a field is wrong, or the answer would have too many rows.
            NotFound: no such session or run of this tenant.
        """
        _check(query)
        rows = [
            row
            for row in await self._rows(tenant, query)
            if query.agent in ("", row.agent) and query.model in ("", row.model)
        ]
        grouped = _grouped(rows, query.group_by)
        if len(grouped) > MOST_ROWS:
            raise InvalidInput(
                f"there are {len(grouped)} rows, at most {MOST_ROWS} are sent: group by less, "
                "or ask for fewer days",
                field="group_by",
                reason="TOO_LARGE",
            )
        return UsageReport(grouped, _sum(rows))

    async def _rows(self, tenant: str, query: UsageQuery) -> tuple[UsageRow, ...]:
        if query.session_id:
            return await self._ledger.of_session(tenant, query.session_id)
        if query.run_id:
            return await self._ledger.of_run(tenant, query.run_id)
        return await self._ledger.by_day(tenant, await self._days(query))

    async def _days(self, query: UsageQuery) -> list[str]:
        last = _day(query.last_day or await self._ledger.today(), "last_day")
        if query.first_day:
            first = _day(query.first_day, "first_day")
        else:
            first = last - min(timedelta(days=DEFAULT_DAYS), last - date.min)
        if first > last:
            raise InvalidInput(f"first_day {first} is after the last, {last}", field="first_day")
        count = (last - first).days + 1
        if count > MOST_DAYS:
            raise InvalidInput(
                f"from {first} to {last} are {count} days: at most {MOST_DAYS} may be asked for",
                field="first_day",
                reason="OUT_OF_BOUNDS",
            )
        return [(first + timedelta(days=number)).isoformat() for number in range(count)]

    async def budgets(self, tenant: str) -> tuple[BudgetState, ...]:
        return await self._ledger.budgets(tenant)


def _check(query: UsageQuery) -> None:
    for field in ("agent", "model", "first_day", "last_day"):
        limits.text(getattr(query, field), field, max_bytes=limits.NAME_BYTES)
    if query.session_id:
        check_session_id(query.session_id)
    if query.run_id:
        check_run_id(query.run_id)
    if query.session_id and query.run_id:
        raise InvalidInput(
            "session_id and run_id are both given: it has to be one of them", field="run_id"
        )
    if query.session_id or query.run_id:
        _check_undivided(query, "session_id" if query.session_id else "run_id")
    if query.agent and parse_agent(query.agent)[1] is not None:
        raise InvalidInput(
            f"agent {query.agent!r} has a version: usage is that of all versions of a name",
            field="agent",
        )
    for i, group in enumerate(query.group_by):
        if group in query.group_by[:i]:
            raise InvalidInput(
                f"group_by[{i}] {group.value!r} is given twice", field=f"group_by[{i}]"
            )


def _check_undivided(query: UsageQuery, by: str) -> None:
    """A session and a run know no days and no agents."""
    for field in ("first_day", "last_day", "agent"):
        if getattr(query, field):
            raise InvalidInput(
                f"{field} is given with {by}: the usage of that is kept by model only",
                field=field,
            )
    for i, group in enumerate(query.group_by):
        if group is not GroupBy.MODEL:
            raise InvalidInput(
                f"group_by[{i}] is {group.value!r}: with {by} it can only be 'model'",
                field=f"group_by[{i}]",
            )


def _day(text: str, field: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # Other forms of ISO 8601 are dates of keys to nobody.
    if found is None or found.isoformat() != text:
        raise InvalidInput(f"{field} {text[:40]!r} is not a day, such as '2026-01-31'", field=field)
    return found


def _grouped(rows: Iterable[UsageRow], by: tuple[GroupBy, ...]) -> tuple[UsageRow, ...]:
    sums: defaultdict[tuple[str, str, str], Totals] = defaultdict(Totals)
    for row in rows:
        day = row.day if GroupBy.DAY in by else ""
        agent = row.agent if GroupBy.AGENT in by else ""
        model = row.model if GroupBy.MODEL in by else ""
        sums[day, agent, model] += row.totals
    return tuple(
        UsageRow(taken, day=day, agent=agent, model=model)
        for (day, agent, model), taken in sorted(sums.items())
    )


def _sum(rows: Iterable[UsageRow]) -> Totals:
    return sum((row.totals for row in rows), Totals())
