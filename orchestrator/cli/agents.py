"""`fleet agents`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from orchestrator.cli.agent_file import read_agent, written
from orchestrator.cli.connection import address_option, call
from orchestrator.cli.listing import json_lines_option, limit_option, show_list
from orchestrator.cli.render import dim, one_line, policy_name, shortened
from orchestrator.client import FleetClient
from orchestrator.rpc.pb.fleet.v1 import agents_pb2

_AGENT = ("AGENT", "MODEL", "TOOLS", "STORED")


@click.group()
def agents() -> None:
    """Agents: system prompt, tools, model policy, budget."""


@agents.command("list")
@limit_option
@json_lines_option
@address_option
def list_agents(*, limit: int, as_json: bool, address: str | None) -> None:
    """List the newest version of each agent, by name."""

    async def work(client: FleetClient) -> int:
        async def page(size: int, token: str) -> tuple[Sequence[agents_pb2.Agent], str]:
            found = await client.agents(page_size=size, page_token=token)
            return found.agents, found.next_page_token

        return await show_list(
            page, _row, limit=limit, headings=_AGENT, none="no agents", as_json=as_json
        )

    call(address, work)


def _row(agent: agents_pb2.Agent) -> tuple[str, ...]:
    spec = agent.spec
    may_use = (
        *spec.tools,
        *(f"{tool.name} (caller's)" for tool in spec.client_tools),
        *(f"{name} (agent)" for name in spec.agents),
        *(f"{name} (handover)" for name in spec.handovers),
    )
    return (
        f"{agent.name}@{agent.version}",
        _policy(spec.policy),
        shortened(", ".join(may_use)) or "-",
        agent.create_time.ToJsonString(),
    )


def _policy(policy: agents_pb2.ModelPolicy) -> str:
    said = policy_name(policy)
    return f"{said} of {', '.join(policy.models)}" if policy.models else said


@agents.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One line, with version and time.")
@address_option
def show(*, name: str, as_json: bool, address: str | None) -> None:
    """Print an agent in the form that apply takes.

    \b
    fleet agents show clerk > clerk.json    the newest version
    fleet agents show clerk@2               that one
    fleet agents apply clerk.json           changed: stored as a new version
    """

    async def work(client: FleetClient) -> int:
        agent = await client.agent(name)
        if as_json:
            click.echo(one_line(agent))
            return 0
        click.echo(
            dim(f"{agent.name}@{agent.version}, stored {agent.create_time.ToJsonString()}"),
            err=True,
        )
        click.echo(written(agent))
        return 0

    call(address, work)


@agents.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@address_option
def apply(file: Path, address: str | None) -> None:
    """Store the agent in FILE as a new version.

    FILE is TOML when it is named so, else JSON:

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
