"""All that is known of the tasks, and the figures of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.domain.catalogue import ModelEntry
from scripts.router_evaluation.answers import Scored
from scripts.router_evaluation.curve import Curve, Floats, auroc, curve
from scripts.router_evaluation.routed import Routed

HIGH_ENOUGH = 0.95
"""The part of the large model's score that the shares of calls are told for."""

RESAMPLES = 200


@dataclass(frozen=True)
class Measured:
    """Arrays with an element a task; `sure` is NaN where the small model did not say."""

    need: Floats
    to_large: npt.NDArray[np.bool_]
    small: Floats
    large: Floats
    sure: Floats
    small_price: Floats
    large_price: Floats

    @classmethod
    def of(
        cls,
        routed: Sequence[Routed],
        small: Sequence[Scored],
        large: Sequence[Scored],
        entries: tuple[ModelEntry, ModelEntry],
    ) -> "Measured":
        unsure = float("nan")
        return cls(
            need=np.array([one.need for one in routed]),
            to_large=np.array([one.to_large for one in routed]),
            small=np.array([one.score for one in small]),
            large=np.array([one.score for one in large]),
            sure=np.array([unsure if s.confidence is None else s.confidence for s in small]),
            small_price=np.array([_micros(one, entries[0]) for one in small]),
            large_price=np.array([_micros(one, entries[1]) for one in large]),
        )

    def part(self, chosen: npt.NDArray[Any]) -> "Measured":
        return Measured(*(array[chosen] for array in vars(self).values()))

    def router(self, weights: Floats) -> Curve:
        return curve(self.need, self.small, self.large, weights)

    def oracle(self, weights: Floats) -> Curve:
        return curve(self.large - self.small, self.small, self.large, weights)

    @property
    def tells_confidence(self) -> bool:
        return not np.isnan(self.sure).any()

    def cascade(self, weights: Floats) -> Curve:
        """The small model first, and the large one where it was not sure enough."""
        return curve(-self.sure, self.small, self.large, weights)

    def operating(self, weights: Floats) -> tuple[float, float]:
        """The default policy's share of calls to the large model, and its quality."""
        quality = np.where(self.to_large, self.large, self.small)
        return (
            float(np.average(self.to_large, weights=weights)),
            float(np.average(quality, weights=weights)),
        )


def figures(measured: Measured, weights: Floats) -> dict[str, Any]:
    """Raises NoGapError."""
    used = weights > 0
    measured, weights = measured.part(used), weights[used]
    routed, best = measured.router(weights), measured.oracle(weights)
    share, quality = measured.operating(weights)
    found: dict[str, Any] = {
        "apgr": routed.apgr,
        "apgr_error": _error(measured, weights),
        "cpt_50": routed.cpt(0.5),
        "cpt_80": routed.cpt(0.8),
        "share_for_95": routed.share_for(HIGH_ENOUGH),
        "of_large_at_half": routed.quality_at(0.5) / routed.large,
        "small": routed.small,
        "large": routed.large,
        "oracle_apgr": best.apgr,
        "policy": {"share": share, "quality": quality, "of_large": quality / routed.large},
        "tasks": len(weights),
    }
    if measured.large_price.any():
        found["micros_per_1000"] = _prices(measured, weights)
    if measured.tells_confidence:
        found["cascade"] = _cascade(measured, weights)
    return found


def _cascade(measured: Measured, weights: Floats) -> dict[str, float]:
    way = measured.cascade(weights)
    share = way.share_for(HIGH_ENOUGH)
    threshold = _threshold(measured.sure, weights, share)
    escalated = measured.sure < threshold
    quality = np.where(escalated, measured.large, measured.small)
    price = measured.small_price + np.where(escalated, measured.large_price, 0.0)
    return {
        "auroc": auroc(measured.sure, measured.small >= 0.5, weights),
        "apgr": way.apgr,
        "share_for_95": share,
        "threshold": threshold,
        "share": float(np.average(escalated, weights=weights)),
        "of_large": float(np.average(quality, weights=weights)) / way.large,
        "micros_per_1000": 1000 * float(np.average(price, weights=weights)),
    }


def _threshold(sure: Floats, weights: Floats, share: float) -> float:
    """Below which lie at least so many of the tasks."""
    order = np.argsort(sure, kind="stable")
    place = int(np.searchsorted(np.cumsum(weights[order]) / weights.sum(), share))
    above = sure[order][min(place + 1, len(order) - 1)]
    return float(above)


def _prices(measured: Measured, weights: Floats) -> dict[str, float]:
    routed = np.where(measured.to_large, measured.large_price, measured.small_price)
    ways = {"small": measured.small_price, "large": measured.large_price, "policy": routed}
    return {name: 1000 * float(np.average(way, weights=weights)) for name, way in ways.items()}


def _error(measured: Measured, weights: Floats) -> float:
    """The standard error of APGR, by drawing the tasks again (bootstrap)."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        again = draw.integers(0, len(weights), len(weights))
        drawn = measured.part(again).router(weights[again])
        if drawn.large > drawn.small:
            found.append(drawn.apgr)
    return float(np.std(found))


def _micros(one: Scored, entry: ModelEntry) -> float:
    """Not rounded to whole ones as a bill is: these are averaged."""
    spent = one.prompt_tokens * entry.input_price + one.new_tokens * entry.output_price
    return spent / 1e6
