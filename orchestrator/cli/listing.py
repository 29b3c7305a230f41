"""What the commands that list things share, and those that take several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click
from google.protobuf.message import Message

from orchestrator.cli.connection import explain
from orchestrator.cli.render import one_line, table
from orchestrator.client import CallError

F = TypeVar("F", bound=Callable[..., Any])
MessageT = TypeVar("MessageT", bound=Message)

Fetch = Callable[[int, str], Awaitable[tuple[Sequence[MessageT], str]]]
"""Takes a page size and a token; returns the page's items and the next token."""

_PAGE_SIZE = 500

json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line."
)
json_object_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def limit_option(command: F) -> F:
    return click.option(
        "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many at most."
    )(command)


async def up_to(limit: int, fetch: Fetch[MessageT]) -> tuple[list[MessageT], bool]:
    """The first `limit` items, however many pages they are, and whether there are more."""
    found: list[MessageT] = []
    token = ""
    while len(found) < limit:
        items, token = await fetch(min(limit - len(found), _PAGE_SIZE), token)
        found += items
        if not token:
            break
    return found, bool(token)


async def show_list(
    fetch: Fetch[MessageT],
    row: Callable[[MessageT], Sequence[str]],
    *,
    limit: int,
    headings: Sequence[str],
    none: str,
    as_json: bool,
) -> int:
    """Prints a table or JSON to standard output, remarks to standard error."""
    found, more = await up_to(limit, fetch)
    if as_json:
        for item in found:
            click.echo(one_line(item))
    elif found:
        click.echo(table(headings, map(row, found)))
    else:
        click.echo(none, err=True)
    if more:
        click.echo(f"there are more than {limit}: --limit shows more", err=True)
    return 0


async def each(names: Sequence[str], do: Callable[[str], Awaitable[None]]) -> int:
    """Does it with every name, also after one was refused; returns the worst exit code."""
    code = 0
    for name in names:
        try:
            await do(name)
        except CallError as error:
            if len(names) == 1 or error.retryable:
                raise
            click.echo(f"{name}: ", nl=False, err=True)
            code = max(code, explain(error, ""))
    return code
