"""The command `fleet`."""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "up": ("up", "Start the whole stack on this machine."),
    "down": ("up", "Stop the stack that runs in this folder."),
    "ask": ("ask", "Ask an agent and stream its answer."),
    "runs": ("runs", "List, read, watch, cancel and resume runs."),
    "sessions": ("sessions", "List, read, fork and delete conversations."),
    "usage": ("usage", "What calls of models took and cost, by day, agent, model; budgets."),
    "dlq": ("dlq", "Runs that were tried in vain: list, show, redrive, purge."),
    "models": ("models", "The catalogue of language models."),
    "agents": ("agents", "Store, list and show agents."),
    "tools": ("tools", "The tools that agents may be given."),
    "triton": ("triton", "Validate model repositories."),
    "demo": ("demo", "Hold a short conversation and check every answer."),
    "serve": ("serve", "Run one process: api, worker or toolbox."),
}


class _Lazy(click.Group):
    """Imports a command when it is used: `fleet ask` needs nothing of the stack it asks."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"the argument {argument!r} is not UTF-8 text") from None
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        module = import_module(f"orchestrator.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group(
    cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
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
    3 the service can't be reached, 4 the run waits for an answer,
    130 interrupted.
    """
