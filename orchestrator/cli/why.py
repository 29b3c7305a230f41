"""`fleet runs get RUN --why`: why each model was asked, from the run's events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing

import click
from google.protobuf.json_format import MessageToDict

from orchestrator.cli.render import (
    dim,
    from_cache,
    money,
    not_passed,
    policy_name,
    printable,
    table,
)
from orchestrator.client import CallError, FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2

_CANDIDATE = (
    *("", "MODEL", "SCORE", "QUALITY", "COST", "LATENCY"),
    *("TTFT", "TPOT", "IN FLIGHT", "WAITING", "EXCLUDED"),
)
_TELLING = {"route_decided", "answer_checked", "answer_cached", "step_restarted"}


async def show_why(client: FleetClient, run_id: str, *, as_json: bool) -> int:
    events, earliest = await _events(client, run_id)
    if as_json:
        said = [MessageToDict(event, preserving_proto_field_name=True) for event in events]
        click.echo(json.dumps({"run_id": run_id, "events": said}))
        return 0
    if earliest > 1:
        click.echo(dim(f"the events before {earliest} are no longer kept"), err=True)
    if not any(event.HasField("route_decided") for event in events):
        click.echo("no model was chosen", err=True)
    for number, event in enumerate(events):
        if number:
            click.echo()
        for line in _told(event):
            click.echo(line)
    return 0


async def _events(client: FleetClient, run_id: str) -> tuple[list[runs_pb2.RunEvent], int]:
    """Returns what tells something of those there are by now, and the number of the first kept."""
    last = await _last_seq(client, run_id)
    after = 0
    while True:
        found: list[runs_pb2.RunEvent] = []
        try:
            async with aclosing(client.watch(run_id, after_seq=after)) as events:
                async for event in events:
                    if event.WhichOneof("payload") in _TELLING:
                        found.append(event)
                    if event.seq >= last:
                        break
        except CallError as error:
            earliest = int(error.metadata.get("earliest_seq", "0"))
            if error.reason != "EVENTS_TRIMMED" or earliest - 1 <= after:
                raise
            after = earliest - 1
        else:
            return found, after + 1


async def _last_seq(client: FleetClient, run_id: str) -> int:
    async with aclosing(client.watch(run_id, after_seq=-1)) as events:
        async for snapshot in events:
            return snapshot.seq
    return 0


def _told(event: runs_pb2.RunEvent) -> Iterator[str]:
    where = f"step {event.step}" + (f", attempt {event.attempt}" if event.attempt > 1 else "")
    match event.WhichOneof("payload"):
        case "route_decided":
            yield f"{where}: {printable(event.route_decided.reason)}"
            yield from _decision(event.route_decided)
        case "answer_checked":
            yield f"{where}: {_check(event.answer_checked)}"
        case "answer_cached":
            yield f"{where}: {from_cache(event.answer_cached)}"
        case "step_restarted":
            yield f"{where}: the step started over ({printable(event.step_restarted.reason)})"


def _check(checked: runs_pb2.AnswerChecked) -> str:
    sure = f" (confidence {checked.confidence:.2f})" if checked.HasField("confidence") else ""
    if checked.passed:
        return f"the answer of {checked.model} was checked and taken{sure}"
    return f"{not_passed(checked)}{sure}"


def _decision(decided: runs_pb2.RouteDecided) -> Iterator[str]:
    yield (
        f"  policy {policy_name(decided.policy)}; {decided.prompt_tokens} + {decided.new_tokens} "
        f"tokens, {', '.join(decided.capabilities) or 'nothing special'}; "
        f"decided in {decided.route_ms:.1f} ms"
    )
    heads = {"complexity": decided.complexity, "task": decided.task, "risk": decided.risk}
    seen = [f"{name}: {_probabilities(found)}" for name, found in heads.items() if found]
    if seen:
        yield f"  {'; '.join(seen)}"
    if decided.escalate_to:
        yield f"  checked, and {decided.escalate_to} is asked if the answer does not pass"
    rows = [_row(each, decided.model) for each in decided.candidates]
    yield from (f"  {line}" for line in table(_CANDIDATE, rows).splitlines())


def _row(candidate: runs_pb2.Candidate, taken: str) -> tuple[str, ...]:
    waiting = str(candidate.waiting) if candidate.HasField("waiting") else "?"
    return (
        "*" if candidate.model == taken else "",
        candidate.model,
        "-" if candidate.excluded else f"{candidate.score:.3f}",
        f"{candidate.quality:.2f}",
        money(candidate.cost_micros),
        f"{candidate.latency_ms:.0f} ms",
        f"{candidate.ttft_ms:.0f} ms",
        f"{candidate.tpot_ms:.1f} ms",
        str(candidate.in_flight),
        waiting,
        printable(candidate.excluded),
    )


def _probabilities(found: Mapping[str, float]) -> str:
    likeliest = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{printable(label)} {p:.2f}" for label, p in likeliest)
