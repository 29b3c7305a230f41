"""`fleet agents`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import ParseDict, ParseError

from orchestrator.cli.connection import address_option, call
from orchestrator.client import FleetClient
from orchestrator.rpc.pb.fleet.v1 import agents_pb2


@click.group()
def agents() -> None:
    """Agents: system prompt, tools, model policy, budget."""


@agents.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@address_option
def apply(file: Path, address: str | None) -> None:
    """Store the agent that FILE describes (JSON or TOML) as a new version.

    \b
    name = "clerk"
    system_prompt = "You answer questions about orders."
    tools = ["lookup"]
    policy = { preference = "PREFERENCE_BEST" }

    The fields are those of fleet.v1.AgentSpec; output_schema may be a table instead of
    output_schema_json. The same content again changes nothing.
    """
    name, spec = read_agent(file)

    async def work(client: FleetClient) -> int:
        agent = await client.put_agent(name, spec)
        click.echo(f"{agent.name}@{agent.version}")
        return 0

    call(address, work)


def read_agent(file: Path) -> tuple[str, agents_pb2.AgentSpec]:
    """Returns the name and the spec that the file holds.

    Raises:
        click.UsageError: it is no JSON or TOML, or no agent.
    """
    fields = _fields(file)
    name = fields.pop("name", None)
    if not isinstance(name, str) or not name:
        raise click.UsageError(f'{file}: an agent needs a name, such as name = "clerk"')
    schema = fields.pop("output_schema", None)
    if schema is not None:
        fields["output_schema_json"] = json.dumps(schema, ensure_ascii=False)
    try:
        return name, ParseDict(fields, agents_pb2.AgentSpec())
    except ParseError as error:
        raise click.UsageError(f"{file}: {error}") from None


def _fields(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        fields = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        kind = "TOML" if file.suffix == ".toml" else "JSON"
        raise click.UsageError(f"{file} is not {kind}: {error}") from None
    if not isinstance(fields, dict):
        raise click.UsageError(f"{file}: one object is needed, with name, system_prompt, tools, …")
    return fields
