"""`fleet tools`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator, Mapping

import click

from orchestrator.cli.connection import UNREACHABLE
from orchestrator.cli.render import counted, table
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.tools import ToolSpec
from orchestrator.execution.arguments import BadSchema, compiled
from orchestrator.settings import SettingsError, load_settings
from orchestrator.tool_composition import (
    ToolSetupError,
    look_at_mcp_server,
    open_tools,
)


@click.group()
def tools() -> None:
    """The tools that agents may be given."""


@tools.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_tools(as_json: bool) -> None:
    """List the tools of the settings in this folder.

    Needs no running service.
    """
    try:
        specs = asyncio.run(_specs())
    except (SettingsError, ToolSetupError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        for spec in specs:
            click.echo(json.dumps(dataclasses.asdict(spec)))
        return
    rows = (
        (
            spec.schema.name,
            spec.kind,
            spec.effect.value,
            f"{spec.timeout_s:g} s",
            "needed" if spec.needs_approval else "no",
        )
        for spec in specs
    )
    click.echo(table(("TOOL", "KIND", "EFFECT", "TIMEOUT", "APPROVAL"), rows))


async def _specs() -> list[ToolSpec]:
    async with open_tools(load_settings(), calling=False) as found:
        return list(found.specs().values())


@tools.command("pin")
@click.argument("server")
def pin_tools(server: str) -> None:
    """Print the lines of fleet.toml that pin an MCP server's tools.

    Agents may use the tools that are pinned.

    \b
    fleet tools pin notes                 look at [tools.mcp.notes]
    fleet tools pin notes >> fleet.toml   when none of its tools is pinned yet

    Starts or reaches the server, and keeps the schemas of its tools beside the settings.
    Look at each description before you pin it: models are shown it word for word.
    """
    try:
        settings = load_settings()
        if server not in settings.tools.mcp:
            known = ", ".join(settings.tools.mcp) or "none"
            raise click.UsageError(f"there is no [tools.mcp.{server}]; the servers are: {known}")
        file, found = asyncio.run(look_at_mcp_server(settings, server))
    except (SettingsError, ToolSetupError) as error:
        raise click.UsageError(str(error)) from None
    except Unavailable as error:
        click.echo(f"fleet: {error.message}", err=True)
        raise SystemExit(UNREACHABLE) from None
    click.echo(f"wrote {counted(len(found), 'schema')} to {file}", err=True)
    for line in pin_lines(server, settings.tools.mcp[server].tools, found):
        click.echo(line)


def pin_lines(
    server: str, pins: Mapping[str, str], found: Mapping[str, ToolSchema]
) -> Iterator[str]:
    """TOML, with what is to be known of each tool as a comment."""
    yield f"[tools.mcp.{server}.tools]"
    for digest, tool in found.items():
        try:
            compiled(tool.name, tool.parameters)
        except BadSchema as bad:
            yield f"# not usable: {_one_line(str(bad))}"
            continue
        state = "new" if tool.name not in pins else "changed"
        if pins.get(tool.name) == digest:
            state = "as pinned"
        yield f"# {state}: {_one_line(tool.description)}"
        yield f"{json.dumps(tool.name)} = {json.dumps(digest)}"
    for name in sorted(pins.keys() - {tool.name for tool in found.values()}):
        yield f"# gone: {_one_line(name)}"


def _one_line(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= 160 else f"{shown[:159]}…"
