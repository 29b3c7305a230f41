"""`fleet dlq`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from orchestrator.cli.connection import USAGE, address_option, call
from orchestrator.cli.listing import (
    each,
    json_lines_option,
    json_object_option,
    limit_option,
    show_list,
)
from orchestrator.cli.render import one_line, printable, shortened, state_name
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import dead_letters_pb2

_ENTRY = ("ENTRY", "FAILED", "AGENT", "STEP", "TRIES", "REASON", "MESSAGE")


@click.group()
def dlq() -> None:
    """Dead letters: runs that failed because they were tried in vain."""


@dlq.command("list")
@limit_option
@json_lines_option
@address_option
def list_entries(*, limit: int, as_json: bool, address: str | None) -> None:
    """List entries, newest first."""

    async def work(client: FleetClient) -> int:
        return await show_list(
            partial(_page, client),
            _row,
            limit=limit,
            headings=_ENTRY,
            none="no dead letters",
            as_json=as_json,
        )

    call(address, work)


async def _page(
    client: FleetClient, size: int, token: str
) -> tuple[Sequence[dead_letters_pb2.DeadLetter], str]:
    page = await client.dead_letters(page_size=size, page_token=token)
    return page.entries, page.next_page_token


def _row(entry: dead_letters_pb2.DeadLetter) -> tuple[str, ...]:
    return (
        entry.entry_id,
        entry.time.ToJsonString(),
        entry.agent,
        str(entry.step),
        str(entry.attempts),
        entry.reason,
        shortened(entry.message),
    )


@dlq.command()
@click.argument("entry_id")
@json_object_option
@address_option
def show(*, entry_id: str, as_json: bool, address: str | None) -> None:
    """Show one entry: what failed, where, why, and who had it last."""

    async def work(client: FleetClient) -> int:
        entry = await client.dead_letter(entry_id)
        if as_json:
            click.echo(one_line(entry))
            return 0
        rows = [
            ("entry", entry.entry_id),
            ("failed", entry.time.ToJsonString()),
            ("reason", entry.reason),
            ("message", printable(entry.message)),
            ("run", f"{entry.run_id} ({await _state(client, entry.run_id)})"),
            ("session", entry.session_id),
            ("agent", entry.agent),
            ("item", entry.item_key),
            ("attempts", f"{entry.attempts}, the last by {entry.worker or 'nobody'}"),
        ]
        for name, value in rows:
            click.echo(f"{name:<9} {value}")
        return 0

    call(address, work)


async def _state(client: FleetClient, run_id: str) -> str:
    try:
        return state_name((await client.run(run_id)).state)
    except CallError:
        return "not kept any more"


@dlq.command()
@click.argument("entry_ids", nargs=-1, required=True, metavar="ENTRY_ID…")
@json_lines_option
@address_option
def redrive(*, entry_ids: tuple[str, ...], as_json: bool, address: str | None) -> None:
    """Start the entries' runs once more and remove the entries.

    Each goes on in its session. Repeated, it starts no second run, and says which run
    the entry became: for a day, while it is remembered.
    """

    async def work(client: FleetClient) -> int:
        async def one(entry_id: str) -> None:
            redriven = await client.redrive(entry_id)
            before = " (redriven before)" if redriven.deduplicated else ""
            click.echo(
                one_line(redriven) if as_json else f"{entry_id} → {redriven.run.run_id}{before}"
            )

        return await each(entry_ids, one)

    call(address, work)


@dlq.command()
@click.argument("entry_ids", nargs=-1, metavar="[ENTRY_ID…]")
@click.option("--all", "everything", is_flag=True, help="Every entry there is.")
@click.option("--yes", is_flag=True, help="Don't ask before --all.")
@address_option
def purge(*, entry_ids: tuple[str, ...], everything: bool, yes: bool, address: str | None) -> None:
    """Remove entries for good. Their runs stay, until their time is over."""
    if everything == bool(entry_ids):
        raise click.UsageError("name the entries, or say --all")
    if everything and not yes and not click.confirm("remove every dead letter?", err=True):
        raise SystemExit(USAGE)

    async def work(client: FleetClient) -> int:
        removed = await client.purge(entry_ids, everything=everything)
        click.echo(f"removed {removed}")
        return 0

    call(address, work)
