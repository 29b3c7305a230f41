"""How evenly tenants are served: Jain's index.

Source: "A Quantitative Measure of Fairness and Discrimination for Resource
Allocation in Shared Computer Systems", DEC Research Report TR-301, 1984.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """What a tenant was served since ever, its weight, and whether it waits for more."""

    served: float
    weight: float
    backlogged: bool


def jain(shares: Sequence[float]) -> float | None:
    """Returns 1 for equal shares, 1/n when one has all; None where nothing was shared."""
    squares = sum(share * share for share in shares)
    if len(shares) < 2 or squares == 0.0:
        return None
    return sum(shares) ** 2 / (len(shares) * squares)


def window_index(samples: Sequence[Mapping[str, Service]]) -> float | None:
    """Returns the index of what tenants got over the window, by weight.

    Only those count that were backlogged in every sample: the others got what they
    asked for.
    """
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    tenants = [
        tenant
        for tenant in first
        if all(tenant in sample and sample[tenant].backlogged for sample in samples)
    ]
    return jain([(last[t].served - first[t].served) / last[t].weight for t in tenants])
