"""A benchmark: what it is called, what it compares, and how it is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scripts.benchmarks.outcome import Outcome
from scripts.benchmarks.progress import Progress

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is given. `folder` is its own, and is removed afterwards."""

    quick: bool
    folder: Path
    progress: Progress

    def pick(self, quick: T, full: T) -> T:
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Benchmark:
    name: str
    compares: str
    run: Callable[[Bench], Awaitable[Outcome]]


async def alternate(
    bench: Bench, rounds: int, ways: Mapping[str, Callable[[], Awaitable[T]]], *, warm_up: int = 1
) -> dict[str, list[T]]:
    """Runs every way once a round, each round in the opposite order of the one before.

    The `warm_up` rounds before are not counted.
    """
    found: dict[str, list[T]] = {name: [] for name in ways}
    for number in range(-warm_up, rounds):
        order = list(ways.items())
        if number % 2:
            order.reverse()
        for name, way in order:
            what = f"round {number + 1} of {rounds}" if number >= 0 else "warming up"
            bench.progress.say(f"{what}: {name}")
            result = await way()
            if number >= 0:
                found[name].append(result)
        bench.progress.advance((number + 1) / rounds)
    return found
