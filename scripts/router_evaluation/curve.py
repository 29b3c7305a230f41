"""Quality against the share of calls to the large model, and RouteLLM's numbers of it.

Ong et al. 2024, "RouteLLM: Learning to Route LLMs with Preference Data", section 2: the
performance gap recovered PGR = (quality - small) / (large - small); APGR, its average over the
share of calls to the large model from 0 to 1; CPT(x), the least share at which PGR is x.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class NoGapError(ValueError):
    """The large model is no better than the small one, so there is no gap to recover."""


@dataclass(frozen=True)
class Curve:
    """From every call to the small model, share 0, to every call to the large one, share 1.

    Between two points lies what a coin between them gives.
    """

    shares: Floats
    qualities: Floats

    @property
    def small(self) -> float:
        return float(self.qualities[0])

    @property
    def large(self) -> float:
        return float(self.qualities[-1])

    @property
    def recovered(self) -> Floats:
        """PGR at each point. Raises NoGapError."""
        if self.large <= self.small:
            raise NoGapError(
                f"the large model's score is {self.large:.3f} and the small one's "
                f"{self.small:.3f}: PGR needs tasks that the large model does better"
            )
        return (self.qualities - self.small) / (self.large - self.small)

    @property
    def apgr(self) -> float:
        heights = self.recovered
        return float(np.sum(np.diff(self.shares) * (heights[1:] + heights[:-1]) / 2))

    def cpt(self, part: float) -> float:
        """The least share of calls to the large model at which `part` of the gap is recovered."""
        return self._least_share(self.recovered, part)

    def share_for(self, part: float) -> float:
        """The least share at which the score is `part` of the large model's."""
        return self._least_share(self.qualities, part * self.large)

    def quality_at(self, share: float) -> float:
        return float(np.interp(share, self.shares, self.qualities))

    def _least_share(self, heights: Floats, wanted: float) -> float:
        place = int(np.argmax(heights >= wanted))
        if heights[place] < wanted:
            return 1.0
        if place == 0:
            return 0.0
        low, high = heights[place - 1], heights[place]
        part = (wanted - low) / (high - low)
        return float(self.shares[place - 1] + part * np.diff(self.shares)[place - 1])


def curve(needs: Floats, small: Floats, large: Floats, weights: Floats) -> Curve:
    """Sends first what needs the large model most; equal needs go together."""
    order = np.argsort(-needs, kind="stable")
    parts = weights[order] / weights.sum()
    gains = parts * (large - small)[order]
    ends = np.append(np.nonzero(np.diff(needs[order]))[0], len(order) - 1)
    shares = np.append(0.0, np.cumsum(parts)[ends])
    start = float(np.average(small, weights=weights))
    qualities = start + np.append(0.0, np.cumsum(gains)[ends])
    return Curve(shares / shares[-1], qualities)


def auroc(scores: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> float:
    """The chance that what was right has the higher score; nan when all or nothing was right."""
    good, bad = scores[right][:, None], scores[~right][None]
    pairs = weights[right][:, None] * weights[~right][None]
    if not pairs.size:
        return float("nan")
    return float(((good > bad) * pairs + 0.5 * (good == bad) * pairs).sum() / pairs.sum())
