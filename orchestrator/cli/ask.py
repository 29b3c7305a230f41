"""`fleet ask`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import click

from orchestrator.cli.answering import Person, UnansweredError, how_to_answer
from orchestrator.cli.connection import FAILED, INTERRUPTED, WAITING, address_option, call
from orchestrator.cli.numbers import above_zero
from orchestrator.cli.render import EventPrinter, dim, one_line, usage_line
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2


@click.command()
@click.argument("question")
@click.option("--session", default="", metavar="ID", help="Go on with it. Default: a new one.")
@click.option(
    "--agent", default="", metavar="NAME[@VERSION]", help="Default: the session's, or assistant."
)
@click.option(
    "--request-id", default="", metavar="ID", help="Asked twice with the same id, it runs once."
)
@click.option(
    "--when-busy",
    type=click.Choice(("reject", "enqueue", "interrupt")),
    default="reject",
    show_default=True,
    metavar="POLICY",
    help="While the session has an active run: reject this one, enqueue it behind that one, "
    "or interrupt that one, which cancels it.",
)
@click.option(
    "--timeout",
    "timeout_ms",
    callback=above_zero(places=3),
    metavar="SECONDS",
    help="Of the run, time that it waits for an answer aside. Default: the agent's.",
)
@click.option(
    "--max-steps",
    callback=above_zero(largest=2**32 - 1),
    metavar="N",
    help="The run's budget of steps. Default of all three: the agent's.",
)
@click.option(
    "--max-tokens",
    callback=above_zero(largest=2**53 - 1),
    metavar="N",
    help="Its budget of tokens, prompts included.",
)
@click.option(
    "--max-cost",
    "max_cost_micros",
    callback=above_zero(places=6),
    metavar="AMOUNT",
    help="Its budget in the catalogue's currency, such as 0.002.",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A JSON Schema: the answer is JSON that fits it. Default: the agent's, if it has one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every event, one JSON object a line.")
@address_option
def ask(
    *,
    question: str,
    session: str,
    agent: str,
    request_id: str,
    when_busy: str,
    timeout_ms: int,
    max_steps: int,
    max_tokens: int,
    max_cost_micros: int,
    schema: Path | None,
    as_json: bool,
    address: str | None,
) -> None:
    """Ask an agent and stream its answer.

    \b
    fleet ask "What is 437 * 12?"
    fleet ask "and twice that?" --session ses_0a_01jd…
    fleet ask "and in euros?" --session ses_0a_01jd… --when-busy enqueue
    fleet ask "Where is order A1042?" --timeout 30 --max-cost 0.002
    fleet ask "Where is order A1042?" --json | jq .finished
    fleet ask "Where is order A1042?" --schema order.json | jq .status

    The answer goes to standard output, tool calls and figures to standard error. With a
    schema it is one line of JSON, at the end.

    What needs approval or a reply is asked at the terminal. Without one (or with --json) it
    is printed with the commands that answer it, and the exit code is 4; the run waits.
    Ctrl-C cancels the run; a second one leaves at once.
    """
    request = runs_pb2.StartRunRequest(
        request_id=request_id,
        session_id=session,
        agent=agent,
        input=question,
        busy_policy=runs_pb2.BusyPolicy.Value(f"BUSY_POLICY_{when_busy.upper()}"),
        budget=agents_pb2.Budget(
            max_steps=max_steps, max_tokens=max_tokens, max_cost_micros=max_cost_micros
        ),
        output_schema_json=_text_of(schema) if schema else "",
    )
    if timeout_ms:
        request.timeout.FromMilliseconds(timeout_ms)

    async def work(client: FleetClient) -> int:
        try:
            return await _Question(client, request, as_json=as_json, address=address).follow()
        except CallError as error:
            if error.reason != "SESSION_BUSY":
                raise
            advice = f"{error.message}; --when-busy enqueue waits for its end"
            raise CallError(error.code, advice, error.reason) from None

    call(address, work)


def _text_of(schema: Path) -> str:
    try:
        text = schema.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{schema} can't be read as text: {error}") from None
    if not text:  # which would be no schema at all
        raise click.UsageError(f"{schema} is empty: it has to hold a JSON Schema")
    return text


class _Question:
    def __init__(
        self,
        client: FleetClient,
        request: runs_pb2.StartRunRequest,
        *,
        as_json: bool,
        address: str | None,
    ) -> None:
        self._client = client
        self._request = request
        self._as_json = as_json
        self._address = address
        self._run_id = ""
        self._cancelling: asyncio.Task[None] | None = None

    async def follow(self) -> int:
        """Streams the run; returns the exit code."""
        loop, here = asyncio.get_running_loop(), asyncio.current_task()
        assert here is not None
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt, here)
        try:
            return await self._stream()
        except UnansweredError:
            return await self._leave_waiting()
        except asyncio.CancelledError:
            self._say_left()
            return INTERRUPTED
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            if self._cancelling is not None:
                self._cancelling.cancel()

    async def _stream(self) -> int:
        printer = EventPrinter()
        person = Person(present=not self._as_json and sys.stdin.isatty())
        event: runs_pb2.RunEvent | None = None
        asking = self._client.ask(self._request, on_interrupt=person.answer, on_wait=say_waiting)
        async with aclosing(asking) as events:
            async for event in events:
                self._run_id = event.run_id
                if self._as_json:
                    click.echo(one_line(event))
                else:
                    printer.show(event)
        if event is None:
            return FAILED
        if not self._as_json:
            run = await self._client.run(event.run_id)
            click.echo(dim(f"{usage_line(run)} · session {run.session_id}"), err=True)
        cancelled = event.finished.state == runs_pb2.RUN_STATE_CANCELLED
        if self._cancelling is not None and cancelled:
            click.echo(f"fleet: run {self._run_id} is cancelled", err=True)
            return INTERRUPTED
        return outcome(event.finished)

    async def _leave_waiting(self) -> int:
        run = await self._client.run(self._run_id)
        for line in how_to_answer(run, self._address):
            click.echo(line, err=True)
        return WAITING

    def _on_interrupt(self, here: asyncio.Task[object]) -> None:
        if not self._run_id or self._cancelling is not None:
            here.cancel()
            return
        click.echo(f"\nfleet: cancelling run {self._run_id}; Ctrl-C again leaves it", err=True)
        self._cancelling = asyncio.create_task(self._cancel(here))

    async def _cancel(self, here: asyncio.Task[object]) -> None:
        try:
            await self._client.cancel(self._run_id)
        except CallError as error:
            click.echo(f"fleet: it could not be cancelled: {error.message}", err=True)
            here.cancel()

    def _say_left(self) -> None:
        if self._run_id:
            said = f"run {self._run_id} may go on; end it with: fleet runs cancel {self._run_id}"
        else:
            said = "left before the run's id was known; fleet runs list shows whether it began"
        click.echo(f"\nfleet: {said}", err=True)


def say_waiting(error: CallError) -> None:
    why = error.message if error.reason else "the service does not answer"
    click.echo(dim(f"· {why}; trying again for up to 30 s"), err=True)


def outcome(finished: runs_pb2.Finished) -> int:
    """Exit code of a run that ended; says why when it did not complete."""
    if finished.state == runs_pb2.RUN_STATE_COMPLETED:
        return 0
    why = finished.error.message or "it was cancelled"
    reason = f" [{finished.error.reason}]" if finished.error.reason else ""
    click.echo(f"fleet: the run ended without an answer: {why}{reason}", err=True)
    return FAILED
