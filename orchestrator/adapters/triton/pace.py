"""How fast a model of one replica has answered lately."""

from __future__ import annotations

import math

DECAY_S = 10.0
_WEIGHT = 0.2


class Pace:
    """`peak_s` follows a slower answer at once and faster ones slowly, and fades while there is
    none, so that who was slow is tried again. Source: the peak EWMA balancer of Twitter's Finagle.

    `mean_s` is of the last few answers, whenever they were.
    """

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self.last_s = -math.inf
        self._peak_s = 0.0

    def add(self, seconds: float, now: float) -> None:
        before = self.peak_s(now)
        if before is None or seconds > before:
            self._peak_s = seconds
        else:
            kept = math.exp(-(now - self.last_s) / DECAY_S)
            self._peak_s = self._peak_s * kept + seconds * (1 - kept)
        self.mean_s = seconds if self.mean_s is None else _mixed(self.mean_s, seconds)
        self.last_s = now

    def peak_s(self, now: float) -> float | None:
        """None: nothing was ever measured."""
        if self.mean_s is None:
            return None
        return self._peak_s * math.exp(-(now - self.last_s) / DECAY_S)


def _mixed(before: float, new: float) -> float:
    return before + _WEIGHT * (new - before)
