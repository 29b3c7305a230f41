"""Held-out conversations and the scores on them, by category."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .conversation import Conversation, draw_conversation

HARD = ("two_tools", "reference", "tool_error", "chain")


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
        calls, answers = self.total(self.calls.values()), self.total(self.answers.values())
        return "\n".join([*rows, f"| **all** | {calls} | {answers} |"])

    def line(self) -> str:
        parts = [
            f"{name} {_percent(self.calls[name])}/{_percent(self.answers[name])}"
            for name in self.categories()
        ]
        return " · ".join(parts)


def _percent(tally: Tally) -> str:
    return f"{100 * tally.right / tally.total:.0f}" if tally.total else "-"
