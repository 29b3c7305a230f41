"""The decision, with everything that it went by."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain.agents import ModelPolicy
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.events import Candidate, RouteDecided
from orchestrator.domain.routing.demand import Classification, Demand
from orchestrator.domain.routing.escalation import tried_first
from orchestrator.domain.routing.estimates import estimated, too_long, unfit
from orchestrator.domain.routing.scoring import scored, why
from orchestrator.domain.routing.signals import UNMEASURED, ModelSignals

_NOTHING: Mapping[str, str] = {}
_UNKNOWN: Mapping[str, ModelSignals] = {}


def decide(
    demand: Demand,
    classification: Classification,
    *,
    catalogue: Catalogue,
    policy: ModelPolicy,
    away: Mapping[str, str] = _NOTHING,
    signals: Mapping[str, ModelSignals] = _UNKNOWN,
) -> RouteDecided:
    """Returns the decision with every model that was considered and why.

    `away` says of models that take no request now why.

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
    candidates = [
        estimated(
            entry,
            demand,
            classification.complexity,
            signals.get(entry.name, UNMEASURED),
            unfit(entry, demand, policy) or too_long(entry, demand) or away.get(entry.name, ""),
        )
        for entry in catalogue.values()
    ]
    ranked = scored(candidates, policy)
    if not ranked:
        raise _none_can(demand, candidates, catalogue, policy)
    by_name = {candidate.model: candidate for candidate in ranked}
    pick, reason, first = ranked[0].model, why(ranked, policy), tried_first(ranked, policy)
    if first is not None:
        reason = f"{first.model} is tried first, {first.quality:.2f} sure to do; else {reason}"
    return RouteDecided(
        model=first.model if first else pick,
        escalate_to=pick if first else "",
        reason=reason,
        task=classification.task,
        complexity=classification.complexity,
        risk=classification.risk,
        candidates=tuple(by_name.get(c.model, c) for c in candidates),
        policy=policy,
        prompt_tokens=demand.prompt_tokens,
        new_tokens=demand.new_tokens,
        capabilities=tuple(sorted(demand.capabilities)),
    )


def _none_can(
    demand: Demand, candidates: list[Candidate], catalogue: Catalogue, policy: ModelPolicy
) -> InvalidInput | Unavailable:
    why_not = "; ".join(f"{c.model}: {c.excluded}" for c in candidates) or "the catalogue is empty"
    # Those that could take it but for its length: when all are too short, waiting helps nobody.
    able = [entry for entry in catalogue.values() if not unfit(entry, demand, policy)]
    if able and all(too_long(entry, demand) for entry in able):
        return InvalidInput(
            f"the request is too long for every model ({why_not})",
            field="input",
            reason="CONTEXT_LENGTH",
        )
    return Unavailable(
        f"no model can take this request now ({why_not})", reason="MODEL_UNAVAILABLE"
    )
