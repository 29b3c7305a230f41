"""`fleet dlq`."""

from __future__ import annotations

import click

from orchestrator.cli.connection import USAGE, address_option, call, explain
from orchestrator.cli.render import one_line, printable, state_name, table
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import dead_letters_pb2

_ENTRY = ("ENTRY", "FAILED", "AGENT", "STEP", "TRIES", "REASON", "MESSAGE")
_MESSAGE_CHARS = 60

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def dlq() -> None:
    """Dead letters: runs that failed because they were tried in vain."""


@dlq.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
@address_option
def list_entries(*, limit: int, as_json: bool, address: str | None) -> None:
    """List entries, newest first."""

    async def work(client: FleetClient) -> int:
        page = await client.dead_letters(page_size=limit)
        if as_json:
            for entry in page.entries:
                click.echo(one_line(entry))
        elif page.entries:
            click.echo(table(_ENTRY, map(_row, page.entries)))
            if page.next_page_token:
                click.echo("there are more: --limit shows up to 500", err=True)
        else:
            click.echo("no dead letters", err=True)
        return 0

    call(address, work)


def _row(entry: dead_letters_pb2.DeadLetter) -> tuple[str, ...]:
    message = printable(entry.message)
    return (
        entry.entry_id,
        entry.time.ToJsonString(),
        entry.agent,
        str(entry.step),
        str(entry.attempts),
        entry.reason,
        message if len(message) <= _MESSAGE_CHARS else message[: _MESSAGE_CHARS - 1] + "…",
    )


@dlq.command()
@click.argument("entry_id")
@json_option
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
@json_option
@address_option
def redrive(*, entry_ids: tuple[str, ...], as_json: bool, address: str | None) -> None:
    """Start the entries' runs once more, each in its session, and remove the entries.

    Repeated, it starts no second run.
    """

    async def work(client: FleetClient) -> int:
        code = 0
        for entry_id in entry_ids:
            try:
                redriven = await client.redrive(entry_id)
            except CallError as error:
                if len(entry_ids) == 1 or error.retryable:
                    raise
                click.echo(f"{entry_id}: ", nl=False, err=True)
                code = max(code, explain(error, address or ""))
                continue
            again = " (it had been started before)" if redriven.deduplicated else ""
            click.echo(
                one_line(redriven) if as_json else f"{entry_id} → {redriven.run.run_id}{again}"
            )
        return code

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
