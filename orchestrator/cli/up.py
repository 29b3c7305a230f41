"""`fleet up` and `fleet down`."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import click

from orchestrator.cli.connection import FAILED, INTERRUPTED
from orchestrator.settings import Settings, SettingsError, load_settings
from orchestrator.supervisor import leftovers
from orchestrator.supervisor.lock import holder
from orchestrator.supervisor.ports import with_free_ports
from orchestrator.supervisor.record import remove_record, runtime_folder
from orchestrator.supervisor.stack import Stack
from orchestrator.supervisor.unit import StartError

_DOWN_S = 10.0


@click.command()
@click.option("--free-ports", is_flag=True, help="Choose every port, instead of the set ones.")
def up(free_ports: bool) -> None:
    """Start the whole stack on this machine and keep it running until Ctrl-C.

    Redis, Triton, the api, the workers and the toolbox, with the embedded
    defaults or your fleet.toml. Logs go to .fleet/log/. What dies is started again.
    """
    raise SystemExit(asyncio.run(_up(read_settings(free_ports=free_ports))))


@click.command()
def down() -> None:
    """Stop the stack that runs in this folder, also one whose terminal is gone."""
    home = read_settings().home
    supervisor = holder(home)
    if supervisor is not None:
        os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_S
        while holder(home) == supervisor and time.monotonic() < deadline:
            time.sleep(0.1)
    ended = leftovers.end(runtime_folder(home), grace_s=3.0)
    remove_record(home)
    stopped = supervisor is not None or ended
    click.echo("the stack is stopped" if stopped else "no stack runs here", err=True)


def read_settings(*, free_ports: bool = False) -> Settings:
    """The settings, or a usage error that says what is wrong with them."""
    try:
        settings = load_settings()
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    return with_free_ports(settings) if free_ports else settings


def say(line: str) -> None:
    click.echo(click.style(f"  {line}", dim=True), err=True)


async def _up(settings: Settings) -> int:
    stack = Stack(settings, say=say)
    stopping = stop_on_signals()
    starting = asyncio.create_task(stack.start())
    stopped = asyncio.create_task(stopping.wait())
    click.echo("starting agent-fleet", err=True)
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        click.echo("interrupted; nothing is left running", err=True)
        return INTERRUPTED
    try:
        starting.result()
    except StartError as error:
        stopped.cancel()
        click.echo(f"fleet: {error}", err=True)
        return FAILED
    click.echo(_welcome(stack))
    await stopped
    click.echo("stopping", err=True)
    await stack.stop()
    click.echo("stopped", err=True)
    return 0


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _welcome(stack: Stack) -> str:
    record = stack.record
    lines = [
        "agent-fleet is up",
        f"  gRPC      {record.api}",
        f"  Triton    {record.triton} (gRPC)",
        f"  Redis     {record.redis}",
        *(f"  metrics   {url}  {name}" for name, url in record.metrics.items()),
        f"  logs      {os.path.relpath(stack.settings.home / 'log')}/",
        "Try, in another terminal:",
        '  .venv/bin/fleet ask "What is 437 * 12?"',
    ]
    return "\n".join(lines)
