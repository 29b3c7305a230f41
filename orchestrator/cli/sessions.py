"""`fleet sessions`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from orchestrator.cli.connection import address_option, call
from orchestrator.cli.listing import (
    each,
    json_lines_option,
    json_object_option,
    limit_option,
    show_list,
)
from orchestrator.cli.render import counted, dim, one_line, printable
from orchestrator.client import FleetClient
from orchestrator.rpc.pb.fleet.v1 import sessions_pb2

_SESSION = ("SESSION", "MESSAGES", "AGENT", "ACTIVE RUN", "CHANGED")


@click.group()
def sessions() -> None:
    """Sessions: conversations, with one active run at a time."""


@sessions.command("list")
@limit_option
@json_lines_option
@address_option
def list_sessions(*, limit: int, as_json: bool, address: str | None) -> None:
    """List sessions, newest first."""

    async def work(client: FleetClient) -> int:
        async def page(size: int, token: str) -> tuple[Sequence[sessions_pb2.Session], str]:
            found = await client.sessions(page_size=size, page_token=token)
            return found.sessions, found.next_page_token

        return await show_list(
            page, _row, limit=limit, headings=_SESSION, none="no sessions", as_json=as_json
        )

    call(address, work)


def _row(session: sessions_pb2.Session) -> tuple[str, ...]:
    return (
        session.session_id,
        str(session.message_count),
        session.agent or "-",
        session.active_run_id or "-",
        session.update_time.ToJsonString(),
    )


@sessions.command()
@click.argument("session_id")
@json_lines_option
@address_option
def show(*, session_id: str, as_json: bool, address: str | None) -> None:
    """Show a conversation: every message, with its tool calls.

    Standard output has the messages (with --json one JSON object a line), standard error
    the session's own line.
    """

    async def work(client: FleetClient) -> int:
        session = await client.session(session_id)
        if not as_json:
            click.echo(dim(_about(session)), err=True)
        token = ""
        while True:
            page = await client.messages(session_id, page_token=token)
            for message in page.messages:
                click.echo(one_line(message) if as_json else "\n".join(_lines(message)))
            token = page.next_page_token
            if not token:
                return 0

    call(address, work)


def _about(session: sessions_pb2.Session) -> str:
    agent = f" · agent {session.agent}" if session.agent else ""
    active = f" · run {session.active_run_id} is at it" if session.active_run_id else ""
    return f"{session.session_id} · {counted(session.message_count, 'message')}{agent}{active}"


def _lines(message: sessions_pb2.Message) -> Iterator[str]:
    role = sessions_pb2.Message.Role.Name(message.role).removeprefix("ROLE_").lower()
    who = f"{role} {printable(message.name)}" if message.name else role
    first, *others = map(printable, message.content.split("\n"))
    if first or others or not message.tool_calls:
        yield f"{who}: {first}".rstrip()
    for line in others:
        yield f"  {line}".rstrip()
    for called in message.tool_calls:
        yield f"{who} → {printable(called.name)} {printable(called.arguments_json)}"


@sessions.command()
@click.argument("session_id")
@json_object_option
@address_option
def fork(*, session_id: str, as_json: bool, address: str | None) -> None:
    """Start a new session with a copy of the messages so far.

    \b
    fleet ask "…" --session "$(fleet sessions fork SESSION_ID)"
    """

    async def work(client: FleetClient) -> int:
        session = await client.fork_session(session_id)
        click.echo(one_line(session) if as_json else session.session_id)
        return 0

    call(address, work)


@sessions.command()
@click.argument("session_ids", nargs=-1, required=True, metavar="SESSION_ID…")
@address_option
def delete(*, session_ids: tuple[str, ...], address: str | None) -> None:
    """Delete sessions with their messages and runs, for good.

    One with an active run is refused: end the run first, with fleet runs cancel.
    """

    async def work(client: FleetClient) -> int:
        async def one(session_id: str) -> None:
            await client.delete_session(session_id)
            click.echo(f"deleted {session_id}")

        return await each(session_ids, one)

    call(address, work)
