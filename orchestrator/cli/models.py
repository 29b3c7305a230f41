"""`fleet models`."""

from __future__ import annotations

import click

from orchestrator.cli.connection import address_option, call
from orchestrator.cli.render import money, one_line, table
from orchestrator.client import FleetClient


@click.group()
def models() -> None:
    """The catalogue of language models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@address_option
def list_models(as_json: bool, address: str | None) -> None:
    """List the models, their state and what a million tokens costs."""

    async def work(client: FleetClient) -> int:
        found = await client.models()
        if as_json:
            for model in found:
                click.echo(one_line(model))
            return 0
        rows = (
            (
                model.name,
                model.provider,
                "ready" if model.ready else "not ready",
                str(model.context_tokens),
                ", ".join(sorted(model.capabilities)),
                money(model.input_micros_per_million_tokens),
                money(model.output_micros_per_million_tokens),
            )
            for model in found
        )
        click.echo(table(("MODEL", "PROVIDER", "STATE", "CONTEXT", "CAN", "IN/M", "OUT/M"), rows))
        return 0

    call(address, work)
