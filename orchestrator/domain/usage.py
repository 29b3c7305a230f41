"""What calls of models took and cost, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from orchestrator.domain.runs import CallOutcome, ModelCall


@dataclass(frozen=True, slots=True)
class Totals:
    """Exact sums. `cached_calls` are among `calls`, `cached_prompt_tokens` among the prompt's."""

    calls: int = 0
    cached_calls: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def totals_of(calls: Iterable[ModelCall]) -> dict[str, Totals]:
    """Returns the sums of each model."""
    sums: dict[str, Totals] = {}
    for call in calls:
        usage = call.usage
        taken = Totals(
            calls=1,
            cached_calls=int(call.outcome is CallOutcome.CACHED),
            prompt_tokens=usage.prompt_tokens,
            cached_prompt_tokens=usage.cached_prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_micros=usage.cost_micros,
        )
        sums[call.model] = sums.get(call.model, Totals()) + taken
    return sums


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of one day (UTC, YYYY-MM-DD), agent (its name, without a version) and model;
    what is empty was added up. A call that no agent made has no agent, either.
    """

    totals: Totals
    day: str = ""
    agent: str = ""
    model: str = ""
