"""`fleet usage`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

import click

from orchestrator.cli.connection import address_option, call
from orchestrator.cli.listing import json_lines_option, json_object_option
from orchestrator.cli.render import money, one_line, printable, table
from orchestrator.client import FleetClient
from orchestrator.rpc.pb.fleet.v1 import usage_pb2

_GROUPS = {
    "day": usage_pb2.GetUsageRequest.GROUP_BY_DAY,
    "agent": usage_pb2.GetUsageRequest.GROUP_BY_AGENT,
    "model": usage_pb2.GetUsageRequest.GROUP_BY_MODEL,
}
_NUMBERS = (
    "calls",
    "cached_calls",
    "prompt_tokens",
    "cached_prompt_tokens",
    "completion_tokens",
    "cost_micros",
)
_SUMS = ("CALLS", "CACHED CALLS", "PROMPT", "CACHED PROMPT", "COMPLETION", "COST")
_BUDGET = ("BUDGET OF", "PERIOD", "LIMIT", "SPENT", "RESERVED", "LEFT")


class _Groups(click.ParamType[tuple[str, ...]]):
    """Names of groups, separated by commas; `none` is one sum."""

    name = "groups"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if value == "none":
            return ()
        names = tuple(name.strip() for name in value.split(","))
        for i, name in enumerate(names):
            if name not in _GROUPS:
                self.fail(f"{name!r} is not one of {', '.join(_GROUPS)}, none", param, ctx)
            if name in names[:i]:
                self.fail(f"{name!r} is given twice", param, ctx)
        return tuple(name for name in _GROUPS if name in names)


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    type=_Groups(),
    help="Of day, agent, model, separated by commas; none. Default: day,model; of one session or "
    "run: model.",
)
@click.option("--from", "first_day", default="", metavar="DAY", help="YYYY-MM-DD, of UTC.")
@click.option("--to", "last_day", default="", metavar="DAY", help="Included. Default: today.")
@click.option("--agent", default="", help="Only this agent's, all its versions.")
@click.option("--model", default="", help="Only this model's.")
@click.option("--session", "session_id", default="", help="Only this session's.")
@click.option("--run", "run_id", default="", help="Only this run's own, not its sub-runs'.")
@json_object_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@address_option
@click.pass_context
def usage(
    context: click.Context,
    *,
    by: tuple[str, ...] | None,
    first_day: str,
    last_day: str,
    agent: str,
    model: str,
    session_id: str,
    run_id: str,
    as_json: bool,
    as_csv: bool,
    address: str | None,
) -> None:
    """Show what calls of models took and cost: of the last 30 days, by day and model.

    \b
    fleet usage --by agent,model --from 2026-01-01 --to 2026-01-31
    fleet usage --session SESSION_ID
    fleet usage --by day,agent,model --csv > january.csv
    fleet usage budgets
    """
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two ways to print: say one")
    if by is None:
        by = ("model",) if session_id or run_id else ("day", "model")
    groups = by
    request = usage_pb2.GetUsageRequest(
        first_day=first_day,
        last_day=last_day,
        agent=agent,
        model=model,
        group_by=[_GROUPS[name] for name in groups],
        session_id=session_id,
        run_id=run_id,
    )

    async def work(client: FleetClient) -> int:
        found = await client.usage(request)
        if as_json:
            click.echo(one_line(found))
        elif as_csv:
            _write_csv(groups, found.rows)
        elif found.rows:
            click.echo(_table(groups, found))
        else:
            click.echo("no usage", err=True)
        return 0

    call(address, work)


def _table(groups: Sequence[str], found: usage_pb2.GetUsageResponse) -> str:
    headings = (*(name.upper() for name in groups), *_SUMS)
    rows = [[*_named(groups, row), *_sums(row)] for row in found.rows]
    if groups:
        rows.append(["total", *[""] * (len(groups) - 1), *_sums(found.total)])
    return table(headings, rows)


def _named(groups: Sequence[str], row: usage_pb2.UsageRow) -> list[str]:
    """A call of no agent has none."""
    return [printable(getattr(row, name)) or "-" for name in groups]


def _sums(row: usage_pb2.UsageRow) -> list[str]:
    *counts, cost = (getattr(row, name) for name in _NUMBERS)
    return [*map(str, counts), money(cost)]


def _write_csv(groups: Sequence[str], rows: Sequence[usage_pb2.UsageRow]) -> None:
    written = csv.writer(sys.stdout, lineterminator="\n")
    written.writerow([*groups, *_NUMBERS])
    written.writerows([getattr(row, name) for name in (*groups, *_NUMBERS)] for row in rows)


@usage.command()
@json_lines_option
@address_option
def budgets(*, as_json: bool, address: str | None) -> None:
    """Show what the tenant and its agents may spend, and what is left."""

    async def work(client: FleetClient) -> int:
        found = await client.budgets()
        if as_json:
            for budget in found:
                click.echo(one_line(budget))
        elif found:
            click.echo(table(_BUDGET, map(_budget, found)))
        else:
            click.echo("no budgets", err=True)
        return 0

    call(address, work)


def _budget(budget: usage_pb2.BudgetState) -> tuple[str, ...]:
    left = budget.limit_micros - budget.spent_micros - budget.reserved_micros
    return (
        f"agent {budget.agent}" if budget.agent else "the tenant",
        budget.period,
        money(budget.limit_micros),
        money(budget.spent_micros),
        money(budget.reserved_micros),
        money(max(0, left)),
    )
