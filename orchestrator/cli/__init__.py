"""The command `fleet`."""

from __future__ import annotations

import click

from orchestrator.cli.agents import agents
from orchestrator.cli.ask import ask
from orchestrator.cli.demo import demo
from orchestrator.cli.models import models
from orchestrator.cli.runs import runs
from orchestrator.cli.serve import serve
from orchestrator.cli.triton import triton
from orchestrator.cli.up import down, up


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="agent-fleet")
def main() -> None:
    """Serve AI agents from your own models.

    \b
    fleet up                                start everything on this machine
    fleet ask "What is 437 * 12?"           ask the default agent
    fleet runs list                         what was asked, and what it cost
    fleet triton check                      validate the model repositories

    \b
    Exit codes: 0 done, 1 the run or the check failed, 2 wrong usage or input,
    3 the service can't be reached, 130 interrupted.
    """


for command in (up, down, ask, runs, models, agents, triton, demo, serve):
    main.add_command(command)
