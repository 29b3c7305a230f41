"""What is expected of a model that may answer a request: quality, cost, latency."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain.agents import ModelPolicy
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.events import Candidate
from orchestrator.domain.routing.demand import Demand
from orchestrator.domain.routing.signals import ModelSignals, crowding
from orchestrator.domain.runs import Usage


def estimated(
    entry: ModelEntry,
    demand: Demand,
    complexity: Mapping[str, float],
    signals: ModelSignals,
    excluded: str,
) -> Candidate:
    """The score is left to `scoring`.

    A time that was not measured lately is the catalogue's, and 0 where that says nothing: a
    model nobody has asked counts as fast until somebody has.
    """
    new_tokens = _new_tokens(entry, demand)
    later, slower = crowding(signals.in_flight, signals.waiting)
    ttft_ms = later * (entry.ttft_ms if signals.ttft_ms is None else signals.ttft_ms)
    tpot_ms = slower * (entry.tpot_ms if signals.tpot_ms is None else signals.tpot_ms)
    return Candidate(
        model=entry.name,
        quality=sum(p * entry.quality.get(label, 0.0) for label, p in complexity.items()),
        cost_micros=entry.cost_micros(
            Usage(prompt_tokens=_prompt_tokens(entry, demand), completion_tokens=new_tokens)
        ),
        excluded=excluded,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        latency_ms=ttft_ms + tpot_ms * max(0, new_tokens - 1),
        in_flight=signals.in_flight,
        waiting=signals.waiting,
    )


def unfit(entry: ModelEntry, demand: Demand, policy: ModelPolicy) -> str:
    """Says what the model can't do of what is asked; empty: nothing."""
    missing = demand.capabilities - entry.capabilities
    if policy.models and entry.name not in policy.models:
        return "not among the agent's models"
    if missing:
        return f"can't do {', '.join(sorted(missing))}"
    return ""


def too_long(entry: ModelEntry, demand: Demand) -> str:
    new_tokens = _new_tokens(entry, demand)
    if demand.least + new_tokens > entry.context_tokens:
        return f"needs {demand.least} + {new_tokens} tokens, its context has {entry.context_tokens}"
    return ""


def _new_tokens(entry: ModelEntry, demand: Demand) -> int:
    return min(demand.new_tokens, entry.max_new_tokens)


def _prompt_tokens(entry: ModelEntry, demand: Demand) -> int:
    """A prompt that the context has no room for is shortened."""
    room = entry.context_tokens - _new_tokens(entry, demand)
    return max(demand.least, min(demand.prompt_tokens, room))
