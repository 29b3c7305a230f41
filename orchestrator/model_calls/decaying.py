"""A mean in which what was seen lately counts more."""

from __future__ import annotations

HALF_LIFE_S = 10.0
FORGET_S = 120.0


class DecayingMean:
    """Each value's weight halves every HALF_LIFE_S; after FORGET_S without one nothing is known."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0
        self._at = 0.0

    def add(self, value: float, now_s: float) -> None:
        kept = 0.5 ** ((now_s - self._at) / HALF_LIFE_S) if self._weight else 0.0
        self._sum = self._sum * kept + value
        self._weight = self._weight * kept + 1.0
        self._at = now_s

    def at(self, now_s: float) -> float | None:
        if not self._weight or now_s - self._at > FORGET_S:
            return None
        return self._sum / self._weight
