"""Waiting between tries."""

from __future__ import annotations

import random
from collections.abc import Iterator


def full_jitter(
    *, base_s: float, cap_s: float, uniform: random.Random | None = None
) -> Iterator[float]:
    """Yields waits drawn from 0 to `base_s` doubled each time, at most `cap_s`.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    draw = (uniform or random).uniform
    ceiling = base_s
    while True:
        yield draw(0.0, ceiling)
        ceiling = min(cap_s, ceiling * 2)
