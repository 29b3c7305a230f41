"""`fleet ask`."""

from __future__ import annotations

import click

from orchestrator.cli.connection import FAILED, address_option, call
from orchestrator.cli.render import EventPrinter, dim, one_line, usage_line
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2


@click.command()
@click.argument("question")
@click.option("--session", default="", help="Go on with this session. Default: a new one.")
@click.option("--agent", default="", help="name or name@version. Default: assistant.")
@click.option("--request-id", default="", help="Asked twice with the same id, it runs once.")
@click.option("--json", "as_json", is_flag=True, help="Print every event, one JSON object a line.")
@address_option
def ask(
    *, question: str, session: str, agent: str, request_id: str, as_json: bool, address: str | None
) -> None:
    """Ask an agent and stream its answer.

    \b
    fleet ask "What is 437 * 12?"
    fleet ask "and twice that?" --session ses_0a_01jd…
    fleet ask "Where is order A1042?" --json | jq .payload

    The answer goes to standard output, tool calls and figures to standard error.
    """
    request = runs_pb2.StartRunRequest(
        request_id=request_id, session_id=session, agent=agent, input=question
    )

    async def work(client: FleetClient) -> int:
        printer = EventPrinter()
        finished: runs_pb2.RunEvent | None = None
        async for event in client.ask(request, on_wait=_say_waiting):
            if as_json:
                click.echo(one_line(event))
            else:
                printer.show(event)
            finished = event
        if finished is None:
            return FAILED
        if not as_json:
            run = await client.run(finished.run_id)
            click.echo(dim(f"{usage_line(run)} · session {run.session_id}"), err=True)
        return outcome(finished.finished)

    call(address, work)


def _say_waiting(error: CallError) -> None:
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
