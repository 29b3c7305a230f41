"""Held-out conversations and the scores on them, by category."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .conversation import Conversation, draw_conversation

HARD = ("two_tools", "reference", "tool_error", "chain", "retry")
# What the small model is never taught: of the hard turns it learns to say that a tool failed.
BEYOND_SMALL = frozenset(HARD) - {"tool_error"}


def draw_held_out(seed: int, *, count: int, exchanges: int = 4) -> list[Conversation]:
    return [
        draw_conversation(f"held-out/{seed}/{index}", exchanges=exchanges) for index in range(count)
    ]


@dataclass
class Tally:
    right: int = 0
    total: int = 0

    def add(self, *, right: bool) -> None:
        self.right += right
        self.total += 1

    def __str__(self) -> str:
        if not self.total:
            return "-"
        return f"{100 * self.right / self.total:.1f}% of {self.total}"


@dataclass
class Scores:
    """Exact matches: of every tool call's name and arguments, and of the answer's text."""

    calls: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    answers: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def add(self, category: str, *, is_call: bool, right: bool) -> None:
        table = self.calls if is_call else self.answers
        table[category].add(right=right)

    def categories(self) -> list[str]:
        return sorted({*self.calls, *self.answers}, key=lambda name: (name in HARD, name))

    def total(self, tallies: Iterable[Tally]) -> Tally:
        listed = list(tallies)
        return Tally(sum(tally.right for tally in listed), sum(tally.total for tally in listed))

    def table(self) -> str:
        rows = ["| category | tool calls | answers |", "|---|---|---|"]
        rows += [
            f"| {name} | {self.calls[name]} | {self.answers[name]} |" for name in self.categories()
        ]
        rows += [f"| **{name}** | {calls} | {answers} |" for name, calls, answers in self.totals()]
        return "\n".join(rows)

    def totals(self) -> list[tuple[str, Tally, Tally]]:
        """Calls and answers of the simple categories, of the hard ones and of all."""
        names = self.categories()
        groups = {
            "simple": [name for name in names if name not in HARD],
            "hard": [name for name in names if name in HARD],
            "all": names,
        }
        return [
            (
                group,
                self.total(self.calls[name] for name in members),
                self.total(self.answers[name] for name in members),
            )
            for group, members in groups.items()
        ]

    def as_json(self) -> dict[str, dict[str, list[int]]]:
        """Category or group: right and total, of tool calls and of answers."""
        rows = [(name, self.calls[name], self.answers[name]) for name in self.categories()]
        return {
            name: {"calls": [calls.right, calls.total], "answers": [answers.right, answers.total]}
            for name, calls, answers in [*rows, *self.totals()]
        }

    def line(self) -> str:
        parts = [
            f"{name} {_percent(self.calls[name])}/{_percent(self.answers[name])}"
            for name in self.categories()
        ]
        return " · ".join(parts)


def _percent(tally: Tally) -> str:
    return f"{100 * tally.right / tally.total:.0f}" if tally.total else "-"
