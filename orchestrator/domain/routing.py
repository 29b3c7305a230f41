"""Which model answers a request: a pure function of what is known about both.

Of the models that can take the request, the quality that the catalogue states
for each complexity is weighed by the classifier's probabilities. The policy
then picks: the cheapest that is good enough, the best, or the fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from orchestrator.domain.agents import ModelPolicy, Preference
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.events import Candidate, RouteDecided
from orchestrator.domain.runs import Usage

GOOD_ENOUGH = 0.8
"""Estimated quality above which a cheaper model is preferred to a better one."""


@dataclass(frozen=True, slots=True)
class Classification:
    """Probabilities by label, each mapping adding up to 1."""

    task: Mapping[str, float]
    complexity: Mapping[str, float]
    risk: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks of a model. Token counts are estimates."""

    capabilities: Set[Capability]
    prompt_tokens: int
    new_tokens: int


def decide(
    demand: Demand,
    classification: Classification,
    *,
    catalogue: Catalogue,
    policy: ModelPolicy,
    unready: Set[str] = frozenset(),
) -> RouteDecided:
    """Returns the decision with every model that was considered and why.

    Raises:
        Unavailable: MODEL_UNAVAILABLE, no model can take the request now.
        InvalidInput: CONTEXT_LENGTH, it is too long for every model that could, even with the
            whole conversation before it left out.
        InvalidInput: UNKNOWN_MODEL, none of the policy's models exists any more.
    """
    if policy.models and not any(name in catalogue for name in policy.models):
        raise InvalidInput(
            f"the agent may only use {', '.join(policy.models)}, and the catalogue, which is "
            f"{', '.join(catalogue) or 'empty'}, has none of them",
            field="policy.models",
            reason="UNKNOWN_MODEL",
        )
    candidates = tuple(
        Candidate(
            model=entry.name,
            quality=_quality(entry, classification.complexity),
            cost_micros=entry.cost_micros(
                Usage(prompt_tokens=demand.prompt_tokens, completion_tokens=demand.new_tokens)
            ),
            excluded=_excluded(entry, demand, policy, unready),
        )
        for entry in catalogue.values()
    )
    able = [candidate for candidate in candidates if not candidate.excluded]
    if not able:
        why = "; ".join(f"{c.model}: {c.excluded}" for c in candidates) or "the catalogue is empty"
        if _is_too_long(demand, catalogue, policy):
            raise InvalidInput(
                f"the request is too long for every model ({why})",
                field="input",
                reason="CONTEXT_LENGTH",
            )
        raise Unavailable(f"no model can take this request now ({why})", reason="MODEL_UNAVAILABLE")
    chosen, reason = _pick(able, policy.preference)
    return RouteDecided(
        model=chosen.model,
        reason=reason,
        task=classification.task,
        complexity=classification.complexity,
        risk=classification.risk,
        candidates=candidates,
    )


def _is_too_long(demand: Demand, catalogue: Catalogue, policy: ModelPolicy) -> bool:
    """Whether all that could take the request but for its length are too short for it."""
    able = [entry for entry in catalogue.values() if not _unfit(entry, demand, policy)]
    return bool(able) and all(_too_long(entry, demand) for entry in able)


def _quality(entry: ModelEntry, complexity: Mapping[str, float]) -> float:
    return sum(p * entry.quality.get(label, 0.0) for label, p in complexity.items())


def _excluded(entry: ModelEntry, demand: Demand, policy: ModelPolicy, unready: Set[str]) -> str:
    not_ready = "not ready" if entry.name in unready else ""
    return _unfit(entry, demand, policy) or _too_long(entry, demand) or not_ready


def _unfit(entry: ModelEntry, demand: Demand, policy: ModelPolicy) -> str:
    missing = demand.capabilities - entry.capabilities
    if policy.models and entry.name not in policy.models:
        return "not among the agent's models"
    if missing:
        return f"can't do {', '.join(sorted(missing))}"
    return ""


def _too_long(entry: ModelEntry, demand: Demand) -> str:
    if demand.prompt_tokens + demand.new_tokens > entry.context_tokens:
        return (
            f"needs {demand.prompt_tokens} + {demand.new_tokens} tokens, "
            f"its context has {entry.context_tokens}"
        )
    return ""


def _pick(able: list[Candidate], preference: Preference) -> tuple[Candidate, str]:
    best = max(able, key=lambda c: (c.quality, -c.cost_micros))
    cheapest = min(able, key=lambda c: (c.cost_micros, -c.quality))
    match preference:
        case Preference.BEST:
            return best, f"{best.model} has the best estimated quality, {best.quality:.2f}"
        case Preference.FASTEST:
            # Until latency is measured, the cheapest model is the smallest and so the fastest.
            return cheapest, f"{cheapest.model} is the fastest that can"
        case Preference.CHEAPEST_THAT_CAN:
            good = [c for c in able if c.quality >= GOOD_ENOUGH]
            if not good:
                return best, (
                    f"none is estimated at {GOOD_ENOUGH:.2f} or better; "
                    f"{best.model} is the best at {best.quality:.2f}"
                )
            pick = min(good, key=lambda c: (c.cost_micros, -c.quality))
            return pick, f"{pick.model} is the cheapest at {GOOD_ENOUGH:.2f} or better"
