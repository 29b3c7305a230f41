"""Waiting between tries."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: a wait is drawn from 0 to `base_s` doubled each time, at most `cap_s`.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    base_s: float = 0.5
    cap_s: float = 10.0

    def delay_s(self, attempt: int, uniform: random.Random | None = None) -> float:
        """`attempt` counts from 1."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        return (uniform or random).uniform(0.0, ceiling)


def full_jitter(
    *, base_s: float, cap_s: float, uniform: random.Random | None = None
) -> Iterator[float]:
    """Yields the waits of a `Backoff`, one after the other."""
    backoff = Backoff(base_s, cap_s)
    for attempt in itertools.count(1):
        yield backoff.delay_s(attempt, uniform)
