"""What a trial found, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """`times`: how often the trial did its harm. Problems are sentences; none is a pass."""

    name: str
    times: int = 0
    runs: int = 0
    kills: int = 0
    problems: list[str] = field(default_factory=list)
    recovery_s: float | None = None
    figures: dict[str, float | str] = field(default_factory=dict)
    seconds: float = 0.0

    def expect(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.problems.append(sentence)

    def to_json(self) -> dict[str, Any]:
        return {
            "trial": self.name,
            "times": self.times,
            "runs": self.runs,
            "kills": self.kills,
            "invariants": "broken" if self.problems else "hold",
            "worst_recovery_s": self.recovery_s,
            "figures": self.figures,
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
        }


def table(outcomes: Sequence[Outcome]) -> str:
    head = ("trial", "times", "runs", "kills", "invariants", "worst recovery", "seconds")
    rows = [
        (
            each.name,
            str(each.times),
            str(each.runs),
            str(each.kills),
            "BROKEN" if each.problems else "hold",
            "" if each.recovery_s is None else f"{each.recovery_s:.2f} s",
            f"{each.seconds:.0f}",
        )
        for each in outcomes
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    left = {0, 4}
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    for each in outcomes:
        figures = ", ".join(f"{name} {_figure(value)}" for name, value in each.figures.items())
        lines += [f"{each.name}: {figures}"] if figures else []
    return "\n".join(lines)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One line."""
    broken = [each.name for each in outcomes if each.problems]
    total = f"{sum(o.runs for o in outcomes)} runs, {sum(o.kills for o in outcomes)} kills"
    if broken:
        return f"BROKEN: {', '.join(broken)} ({total})"
    return f"every invariant holds: {total}"
