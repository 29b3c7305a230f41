"""`fleet demo`: a short conversation on the real stack, checked as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from orchestrator.cli.connection import FAILED, INTERRUPTED
from orchestrator.cli.demo_turns import TURNS, Told, judge
from orchestrator.cli.render import EventPrinter, dim, money, table
from orchestrator.cli.up import read_settings, say, stop_on_signals
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from orchestrator.supervisor.lock import is_held
from orchestrator.supervisor.record import read_record
from orchestrator.supervisor.stack import Stack
from orchestrator.supervisor.unit import StartError


@click.command()
def demo() -> None:
    """Hold a short conversation in which the model calls tools, and check every answer.

    Uses the stack that runs in this folder, or starts one on free ports and
    stops it again. Exit code 0 when every answer was right.
    """
    raise SystemExit(asyncio.run(_demo()))


async def _demo() -> int:
    stopping = stop_on_signals()
    talking = asyncio.create_task(_start_and_talk())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({talking, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not talking.done():
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        return INTERRUPTED
    stopped.cancel()
    try:
        return talking.result()
    except (StartError, CallError) as error:
        click.echo(f"fleet: {error}", err=True)
        return FAILED


async def _start_and_talk() -> int:
    async with _stack() as address, FleetClient.open(address) as client:
        return 0 if await converse(client) else FAILED


async def converse(client: FleetClient) -> bool:
    """Holds the conversation on standard output; whether every answer was right."""
    session = (await client.create_session("assistant")).session_id
    rows, right = [], []
    for turn in TURNS:
        click.echo(click.style(f"\n> {turn.question}", bold=True))
        told = await _ask(client, session, turn.question)
        rows.append(_row(turn.question, told, await client.run(told.run_id)))
        if problem := judge(turn, told):
            click.echo(click.style(problem, fg="red"))
        else:
            right.append(told)
    click.echo()
    click.echo(table(("QUESTION", "MODEL", "TOOLS", "TOKENS", "COST", "TTFT", "TOOK"), rows))
    click.echo(f"\n{len(right)} of {len(TURNS)} answers were right: {_summary(right)}")
    return len(right) == len(TURNS)


@asynccontextmanager
async def _stack() -> AsyncIterator[str]:
    """The address of the stack that runs here, or of one that lives as long as this."""
    settings = read_settings(free_ports=True)
    record = read_record(settings.home)
    if record is not None and is_held(settings.home):
        click.echo(dim(f"using the stack that runs here, {record.api}"), err=True)
        yield record.api
        return
    click.echo("starting agent-fleet", err=True)
    stack = Stack(settings, say=say)
    await stack.start()
    try:
        yield stack.record.api
    finally:
        await stack.stop()


async def _ask(client: FleetClient, session: str, question: str) -> Told:
    printer, told = EventPrinter(), Told()
    request = runs_pb2.StartRunRequest(session_id=session, input=question)
    async for event in client.ask(request):
        printer.show(event)
        told.add(event)
    return told


def _row(question: str, told: Told, run: runs_pb2.Run) -> tuple[str, ...]:
    first = run.steps[0].time_to_first_token_ms if run.steps else 0.0
    took = run.finish_time.ToMilliseconds() - run.create_time.ToMilliseconds()
    return (
        question,
        ", ".join(dict.fromkeys(step.model for step in run.steps)),
        (" + " if told.parallel else ", ").join(told.tools) or "-",
        f"{run.usage.prompt_tokens}+{run.usage.completion_tokens}",
        money(run.usage.cost_micros),
        f"{first:.0f} ms",
        f"{took} ms",
    )


def _summary(right: Sequence[Told]) -> str:
    tools = {tool for told in right for tool in told.tools}
    counts = {
        "different tool": len(tools),
        "parallel call": sum(told.parallel for told in right),
        "refusal": sum(told.refused for told in right),
    }
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
