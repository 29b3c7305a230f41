"""`fleet demo`: a short conversation on the real stack, checked as it goes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click

from orchestrator.cli.connection import FAILED, INTERRUPTED
from orchestrator.cli.render import EventPrinter, dim, money, table
from orchestrator.cli.up import read_settings, say, stop_on_signals
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from orchestrator.supervisor.lock import is_held
from orchestrator.supervisor.record import read_record
from orchestrator.supervisor.stack import Stack
from orchestrator.supervisor.unit import StartError


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, the tools that must be called for it, and what the answer must hold.

    `repeats` is a pattern: what it matches in a tool's result must be in the answer.
    """

    question: str
    tools: tuple[str, ...] = ()
    holds: str = ""
    repeats: str = ""


TURNS = (
    Turn("Hello!"),
    Turn("What is 437 * 12?", ("calculator",), "5244"),
    Turn("Where is my order A1042?", ("lookup",), "shipped"),
    Turn("What time is it in Paris?", ("current_time",), repeats=r"\d\d:\d\d"),
    Turn("Thank you!"),
)


@dataclass(slots=True)
class Told:
    """What one turn's events said."""

    tools: list[str]
    results: list[str]
    deltas: int
    finished: runs_pb2.Finished
    run_id: str


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
        session = (await client.create_session("assistant")).session_id
        rows, wrong = [], []
        for turn in TURNS:
            click.echo(click.style(f"\n> {turn.question}", bold=True))
            told = await _ask(client, session, turn.question)
            rows.append(_row(turn, told, await client.run(told.run_id)))
            if problem := judge(turn, told):
                wrong.append(problem)
                click.echo(click.style(problem, fg="red"))
    click.echo()
    click.echo(table(("QUESTION", "MODEL", "TOOLS", "TOKENS", "COST", "TTFT", "TOOK"), rows))
    click.echo(f"\n{len(TURNS) - len(wrong)} of {len(TURNS)} answers were right")
    return FAILED if wrong else 0


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
    printer = EventPrinter()
    told = Told([], [], 0, runs_pb2.Finished(), "")
    request = runs_pb2.StartRunRequest(session_id=session, input=question)
    async for event in client.ask(request):
        printer.show(event)
        told.run_id = event.run_id
        match event.WhichOneof("payload"):
            case "tool_call_requested":
                told.tools.append(event.tool_call_requested.call.name)
            case "tool_call_finished":
                told.results.append(event.tool_call_finished.content)
            case "text_delta":
                told.deltas += 1
            case "finished":
                told.finished = event.finished
    return told


def judge(turn: Turn, told: Told) -> str:
    """Says what is wrong with an answer; nothing when it is right."""
    if told.finished.state != runs_pb2.RUN_STATE_COMPLETED:
        return f"the run did not complete: {told.finished.error.message}"
    if tuple(told.tools) != turn.tools:
        return f"expected the tools {list(turn.tools)}, the model called {told.tools}"
    read = re.search(turn.repeats, " ".join(told.results))
    wanted = turn.holds or (read[0] if read else "")
    if wanted not in told.finished.result:
        return f"expected {wanted!r} in the answer"
    if not told.deltas:
        return "expected the answer to be streamed"
    return ""


def _row(turn: Turn, told: Told, run: runs_pb2.Run) -> tuple[str, ...]:
    first = run.steps[0].time_to_first_token_ms if run.steps else 0.0
    took = run.finish_time.ToMilliseconds() - run.create_time.ToMilliseconds()
    return (
        turn.question,
        ", ".join(dict.fromkeys(step.model for step in run.steps)),
        ", ".join(told.tools) or "-",
        f"{run.usage.prompt_tokens}+{run.usage.completion_tokens}",
        money(run.usage.cost_micros),
        f"{first:.0f} ms",
        f"{took} ms",
    )
