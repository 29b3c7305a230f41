"""What a benchmark found: figures over its rounds, and the ratios that its bars are about."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class WrongAnswer(Exception):
    """Something that was measured answered wrongly: there is nothing to compare."""


class CannotRun(Exception):
    """The benchmark, or a peer, has not what it needs here; the message says what."""


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    @property
    def whole(self) -> dict[str, float]:
        return {"median": self.median, "least": self.least, "most": self.most}


@dataclass(frozen=True, slots=True)
class Series:
    """One way of doing it, over all rounds.

    `rates` are in `unit` a second, `latencies_ms` hold a p50 for each round, and `cpu_s` the
    CPU seconds of each process group for a thousand units.
    """

    name: str
    unit: str
    rates: Sequence[float] = ()
    latencies_ms: Sequence[float] = ()
    cpu_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    more: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that a bar is about: ours to theirs in the same round, or a figure of our own.

    `wanted` None: there is no bar. With `at_most` the bar is an upper one.
    """

    key: str
    said: str
    rounds: Sequence[float]
    wanted: float | None = None
    at_most: bool = False
    unit: str = ""

    @property
    def spread(self) -> Spread:
        return Spread.over(self.rounds)

    @property
    def met(self) -> bool | None:
        if self.wanted is None:
            return None
        value = self.spread.median
        return value <= self.wanted if self.at_most else value >= self.wanted


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a plot: a line for each name."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: bool = False


@dataclass(slots=True)
class Outcome:
    """`left_out` says what could not be run here, and why."""

    series: list[Series] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def json(self) -> dict[str, Any]:
        """By the key of each ratio, its median over the rounds."""
        return {ratio.key: round(ratio.spread.median, 4) for ratio in self.ratios}
