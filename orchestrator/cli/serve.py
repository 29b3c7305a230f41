"""`fleet serve`: one process of the stack, as a deployment runs it."""

from __future__ import annotations

import click
import uvloop

from orchestrator.cli.up import stop_on_signals
from orchestrator.composition import (
    ServeError,
    StoppedError,
    serve_api,
    serve_toolbox,
    serve_worker,
)
from orchestrator.settings import SettingsError, load_settings
from orchestrator.supervisor.process import CONFIGURATION_ERROR
from orchestrator.telemetry.logs import configure_logging

_ROLES = {"api": serve_api, "worker": serve_worker, "toolbox": serve_toolbox}


@click.command()
@click.argument("role", type=click.Choice(list(_ROLES)))
def serve(role: str) -> None:
    """Run one process: api, worker or toolbox. SIGTERM drains it.

    Settings come from the environment and fleet.toml; each serves /metrics.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        click.echo(f"fleet: {error}", err=True)
        raise SystemExit(CONFIGURATION_ERROR) from None
    configure_logging(role, settings.log_level)

    async def run() -> None:
        await _ROLES[role](settings, stop_on_signals())

    try:
        uvloop.run(run())
    except StoppedError:
        return
    except ServeError as error:
        click.echo(f"fleet: {error}", err=True)
        raise SystemExit(CONFIGURATION_ERROR) from None
