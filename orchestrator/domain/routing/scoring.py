"""One number for each model that can take a request; the highest is taken.

With weights q, c and l of quality, cost and latency, which are scaled to add up to 1:

    score = q · quality - c · cost / highest cost - l · latency / highest latency

where quality is a probability and the highest are those of the models that can. `best` is q
alone, `fastest` is l alone. `cheapest_that_can` holds a model of quality GOOD_ENOUGH or better
for good enough: it scores 1 - cost / highest cost, from 0 to 1, and any other model quality - 1,
which is below that. Equal scores: the cheaper, the faster, the better one, then the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.domain.agents import ModelPolicy, PolicyWeights, Preference
from orchestrator.domain.events import Candidate

GOOD_ENOUGH = 0.8
"""Estimated quality from which on a cheaper model is preferred to a better one."""

_DIGITS = 9  # of a score; what is equal but for rounding is a tie

_WEIGHTS = {
    Preference.BEST: PolicyWeights(quality=1.0),
    Preference.FASTEST: PolicyWeights(latency=1.0),
}


def scored(candidates: Iterable[Candidate], policy: ModelPolicy) -> list[Candidate]:
    """Returns those that can, each with its score, best first."""
    able = [candidate for candidate in candidates if not candidate.excluded]
    dearest = max((c.cost_micros for c in able), default=0)
    slowest = max((c.latency_ms for c in able), default=0.0)
    weights = policy.weights or _WEIGHTS.get(policy.preference)

    def score(candidate: Candidate) -> float:
        cost = _share(candidate.cost_micros, dearest)
        if weights is not None:
            return _weighed(candidate, weights, cost, _share(candidate.latency_ms, slowest))
        return 1 - cost if candidate.quality >= GOOD_ENOUGH else candidate.quality - 1

    found = (c.model_copy(update={"score": round(score(c), _DIGITS)}) for c in able)
    return sorted(found, key=_rank)


def why(ranked: Sequence[Candidate], policy: ModelPolicy) -> str:
    """One sentence about the first of them."""
    first = ranked[0]
    if policy.weights is not None:
        others = f"; {ranked[1].model} has {ranked[1].score:.3f}" if len(ranked) > 1 else ""
        return f"{first.model} has the best score, {first.score:.3f}{others}"
    match policy.preference:
        case Preference.BEST:
            return f"{first.model} has the best estimated quality, {first.quality:.2f}"
        case Preference.FASTEST:
            return f"{first.model} is the fastest that can, about {first.latency_ms:.0f} ms"
        case Preference.CHEAPEST_THAT_CAN:
            if first.quality >= GOOD_ENOUGH:
                return f"{first.model} is the cheapest at {GOOD_ENOUGH:.2f} or better"
            return (
                f"none is estimated at {GOOD_ENOUGH:.2f} or better; "
                f"{first.model} is the best at {first.quality:.2f}"
            )


def _weighed(candidate: Candidate, weights: PolicyWeights, cost: float, latency: float) -> float:
    total = weights.quality + weights.cost + weights.latency
    return (
        weights.quality / total * candidate.quality
        - weights.cost / total * cost
        - weights.latency / total * latency
    )


def _share(part: float, highest: float) -> float:
    return part / highest if highest else 0.0


def _rank(candidate: Candidate) -> tuple[float, int, float, float, str]:
    return (
        -candidate.score,
        candidate.cost_micros,
        candidate.latency_ms,
        -candidate.quality,
        candidate.model,
    )
