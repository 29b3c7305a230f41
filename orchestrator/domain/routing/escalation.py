"""Whether a cheaper model is asked first, and the one that was picked only if it has to be.

That is worth it where a model may well be right, from LEAST_TRIED up to GOOD_ENOUGH, and trying
it is expected to cost less: its own cost, and the other's as often as it is wrong,

    cost + (1 - quality) · cost of the pick  <  cost of the pick
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.agents import ModelPolicy, Preference
from orchestrator.domain.events import Candidate
from orchestrator.domain.routing.scoring import GOOD_ENOUGH

LEAST_TRIED = 0.4
"""Estimated quality below which the time of a first try is wasted too often."""


def tried_first(ranked: Sequence[Candidate], policy: ModelPolicy) -> Candidate | None:
    """Returns the model to ask before the best of `ranked`; None: ask that at once."""
    if not policy.cascade or not _saves(policy):
        return None
    pick = ranked[0]
    worth = [
        c
        for c in ranked[1:]
        if LEAST_TRIED <= c.quality < min(GOOD_ENOUGH, pick.quality)
        and _expected(c, pick) < pick.cost_micros
    ]
    return min(worth, key=lambda c: (_expected(c, pick), -c.quality, c.model), default=None)


def _saves(policy: ModelPolicy) -> bool:
    """`best` and `fastest`, and weights that leave cost out, have nothing to gain."""
    if policy.weights is not None:
        return policy.weights.cost > 0
    return policy.preference is Preference.CHEAPEST_THAT_CAN


def _expected(tried: Candidate, pick: Candidate) -> float:
    return tried.cost_micros + (1 - tried.quality) * pick.cost_micros
