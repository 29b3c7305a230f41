"""`fleet runs`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from orchestrator.cli.answering import how_to_answer
from orchestrator.cli.ask import outcome, say_waiting
from orchestrator.cli.calls import what_was_paid
from orchestrator.cli.connection import address_option, call
from orchestrator.cli.listing import (
    json_lines_option,
    json_object_option,
    limit_option,
    show_list,
)
from orchestrator.cli.render import EventPrinter, money, on_screen, one_line, state_name, table
from orchestrator.cli.why import show_why
from orchestrator.client import Answer, FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2

_RUN = ("RUN", "STATE", "AGENT", "TOKENS", "COST", "BEGAN")
_STEP = ("STEP", "MODEL", "ENDED", "TOKENS", "COST", "TTFT", "TOOK")


@click.group()
def runs() -> None:
    """List, read, watch, cancel and resume runs."""


@runs.command("list")
@click.option("--session", default="", help="Only this session's.")
@limit_option
@json_lines_option
@address_option
def list_runs(session: str, limit: int, as_json: bool, address: str | None) -> None:
    """List runs, newest first."""

    async def work(client: FleetClient) -> int:
        async def page(size: int, token: str) -> tuple[Sequence[runs_pb2.Run], str]:
            found = await client.runs(session_id=session, page_size=size, page_token=token)
            return found.runs, found.next_page_token

        return await show_list(
            page, _row, limit=limit, headings=_RUN, none="no runs", as_json=as_json
        )

    call(address, work)


def _row(run: runs_pb2.Run) -> tuple[str, ...]:
    return (
        run.run_id,
        state_name(run.state),
        run.agent,
        str(run.usage.prompt_tokens + run.usage.completion_tokens),
        money(run.usage.cost_micros),
        run.create_time.ToJsonString(),
    )


@runs.command()
@click.argument("run_id")
@click.option("--why", is_flag=True, help="Show why each model was asked instead.")
@json_object_option
@address_option
def get(*, run_id: str, why: bool, as_json: bool, address: str | None) -> None:
    """Show one run: its state, its steps, what it cost.

    With --why: each choice of a model with all that it went by, checks of answers, what came
    out of the cache; also of a run that has ended.
    """

    async def work(client: FleetClient) -> int:
        if why:
            return await show_why(client, run_id, as_json=as_json)
        run = await client.run(run_id)
        if as_json:
            click.echo(one_line(run))
            return 0
        click.echo(f"{run.run_id}  {state_name(run.state)}  {run.agent}  session {run.session_id}")
        if run.steps:
            click.echo(table(_STEP, map(_step, run.steps)))
        for line in await what_was_paid(client, run):
            click.echo(line)
        if run.parent_run_id:
            click.echo(f"started by run {run.parent_run_id}")
        for pending in run.pending_calls:
            if pending.child_run_id:
                click.echo(f"waits for run {pending.child_run_id}")
        if run.interrupts:
            for line in how_to_answer(run, address):
                click.echo(line)
        if run.result:
            click.echo(on_screen(run.result))
        if run.error.reason:
            click.echo(f"{run.error.message} [{run.error.reason}]")
        return 0

    call(address, work)


def _step(step: runs_pb2.StepRecord) -> tuple[str, ...]:
    return (
        str(step.step),
        step.model,
        step.finish_reason,
        f"{step.usage.prompt_tokens}+{step.usage.completion_tokens}",
        money(step.usage.cost_micros),
        f"{step.time_to_first_token_ms:.1f} ms",
        f"{step.inference_ms:.1f} ms",
    )


@runs.command()
@click.argument("run_id")
@click.option(
    "--after",
    "after_seq",
    type=click.IntRange(-1),
    default=0,
    help="Resume after event N; -1: from now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every event, one JSON object a line.")
@address_option
def watch(run_id: str, after_seq: int, as_json: bool, address: str | None) -> None:
    """Follow a run's events up to its end, also of a run that has ended."""

    async def work(client: FleetClient) -> int:
        printer = EventPrinter()
        last: runs_pb2.RunEvent | None = None
        async for event in client.watch(run_id, after_seq=after_seq, on_wait=say_waiting):
            if as_json:
                click.echo(one_line(event))
            else:
                printer.show(event)
            last = event
        printer.close()
        if last is None:
            return 0
        if last.WhichOneof("payload") == "snapshot":  # of a run that had ended: nothing follows
            run = last.snapshot.run
            return outcome(runs_pb2.Finished(state=run.state, error=run.error))
        return outcome(last.finished)

    call(address, work)


@runs.command()
@click.argument("run_id")
@json_object_option
@address_option
def cancel(*, run_id: str, as_json: bool, address: str | None) -> None:
    """End a run and the runs it started.

    It may be queued, reasoning, at a tool, or waiting for an answer.
    """

    async def work(client: FleetClient) -> int:
        run = await client.cancel(run_id)
        if as_json:
            click.echo(one_line(run))
            return 0
        ended = run.HasField("finish_time")
        about = "" if ended else "; who works on it is told, and it ends in a moment"
        click.echo(f"{run.run_id}  {state_name(run.state)}{about}")
        return 0

    call(address, work)


@runs.command()
@click.argument("run_id")
@click.argument("interrupt_id")
@click.option("--approve", is_flag=True, help="Run the call.")
@click.option("--deny", is_flag=True, help="Don't; the model is told so.")
@click.option("--reason", default="", help="Of --deny, for the model.")
@click.option("--result", help="What the call gave, of a tool that you ran.")
@click.option("--error", is_flag=True, help="The --result is an error.")
@click.option("--reply", help="What a person says.")
@json_object_option
@address_option
def resume(
    *,
    run_id: str,
    interrupt_id: str,
    approve: bool,
    deny: bool,
    reason: str,
    result: str | None,
    error: bool,
    reply: str | None,
    as_json: bool,
    address: str | None,
) -> None:
    """Answer what a run waits for, once.

    \b
    fleet runs get RUN_ID                       what it waits for
    fleet runs resume RUN_ID INTERRUPT_ID --approve
    fleet runs resume RUN_ID INTERRUPT_ID --deny --reason "too expensive"
    fleet runs resume RUN_ID INTERRUPT_ID --result '{"stock": 3}'
    fleet runs resume RUN_ID INTERRUPT_ID --reply "the blue one"
    """
    if sum((approve, deny, result is not None, reply is not None)) != 1:
        raise click.UsageError("say one of --approve, --deny, --result, --reply")
    if reason and not deny:
        raise click.UsageError("--reason belongs to --deny")
    if error and result is None:
        raise click.UsageError("--error belongs to --result")
    answer: Answer = runs_pb2.Approval(approved=approve, reason=reason)
    if result is not None:
        answer = runs_pb2.ToolResult(content=result, is_error=error)
    elif reply is not None:
        answer = runs_pb2.Reply(text=reply)

    async def work(client: FleetClient) -> int:
        run = await client.resume(run_id, interrupt_id, answer)
        if as_json:
            click.echo(one_line(run))
        else:
            click.echo(f"{run.run_id}  {state_name(run.state)}")
            click.echo(f"follow it with: fleet runs watch {run.run_id} --after -1", err=True)
        return 0

    call(address, work)
