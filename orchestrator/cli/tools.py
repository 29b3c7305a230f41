"""`fleet tools`."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import click

from orchestrator.cli.render import table
from orchestrator.domain.tools import ToolSpec
from orchestrator.settings import SettingsError, load_settings
from orchestrator.tool_composition import ToolSetupError, open_tools


@click.group()
def tools() -> None:
    """The tools that agents may be given."""


@tools.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_tools(as_json: bool) -> None:
    """List the tools of the settings in this folder; needs no running service."""
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
