"""A run's calls of models, as `fleet runs get` shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.cli.render import counted, money, table
from orchestrator.client import FleetClient
from orchestrator.rpc.pb.fleet.v1 import runs_pb2, usage_pb2

_CALL = (
    *("STEP", "CALL OF", "OUTCOME", "TOKENS", "CACHED"),
    *("PRICE IN", "PRICE CACHED", "PRICE OUT", "COST"),
)
_BY_MODEL = [usage_pb2.GetUsageRequest.GROUP_BY_MODEL]


async def what_was_paid(client: FleetClient, run: runs_pb2.Run) -> list[str]:
    """A line for each call, and for what no step has: calls of one that was cut off."""
    lines = []
    calls = [(step.step, call) for step in run.steps for call in step.calls]
    if calls:
        lines.append(table(_CALL, (_row(step, call) for step, call in calls)))
    if run.HasField("finish_time"):
        request = usage_pb2.GetUsageRequest(run_id=run.run_id, group_by=_BY_MODEL)
        booked = await client.usage(request)
        lines += _cut_off([call for _, call in calls], booked.rows)
    return lines


def _row(step: int, call: runs_pb2.ModelCall) -> Sequence[str]:
    usage = call.usage
    outcome = runs_pb2.ModelCall.Outcome.Name(call.outcome).removeprefix("OUTCOME_")
    return (
        str(step),
        call.model,
        outcome.lower().replace("_", " "),
        f"{usage.prompt_tokens}+{usage.completion_tokens}",
        str(usage.cached_prompt_tokens),
        money(call.input_micros_per_million_tokens),
        money(call.cached_input_micros_per_million_tokens),
        money(call.output_micros_per_million_tokens),
        money(usage.cost_micros),
    )


def _cut_off(
    calls: Sequence[runs_pb2.ModelCall], booked: Sequence[usage_pb2.UsageRow]
) -> Iterator[str]:
    """What was booked and is in no step."""
    for row in booked:
        known = [call for call in calls if call.model == row.model]
        count = row.calls - len(known)
        if count > 0:
            prompt = row.prompt_tokens - sum(call.usage.prompt_tokens for call in known)
            new = row.completion_tokens - sum(call.usage.completion_tokens for call in known)
            cost = row.cost_micros - sum(call.usage.cost_micros for call in known)
            yield (
                f"in no step: {counted(count, 'call')} of {row.model}, {prompt}+{new} tokens, "
                f"{money(cost)}"
            )
