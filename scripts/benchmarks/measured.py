"""What one round of one way gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.benchmarks.outcome import Series


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_s` is for a thousand units, by process group."""

    rate: float
    p50_ms: float
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def rate_per_cpu_s(self) -> float:
        return 1000 / sum(self.cpu_s.values())


def series_of(name: str, unit: str, rounds: Sequence[Measured]) -> Series:
    return Series(
        name,
        unit,
        rates=[one.rate for one in rounds],
        latencies_ms=[one.p50_ms for one in rounds],
        cpu_s={group: [one.cpu_s[group] for one in rounds] for group in rounds[0].cpu_s},
    )
