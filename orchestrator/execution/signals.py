"""What a handler tells the loop besides errors of the tree."""

from __future__ import annotations

from orchestrator.domain.runs import ModelCall, usage_of


class NotRepeatable(Exception):
    """The work was cut off in the middle of what must not silently happen again.

    Raised instead of CancelledError. An item that is handed back then keeps its
    attempt, so that whoever claims it next knows.
    """


class CutShort(Exception):
    """The work was cut off after it had taken so much. Raised instead of CancelledError."""

    def __init__(self, calls: tuple[ModelCall, ...]) -> None:
        super().__init__(f"{usage_of(calls).tokens} tokens")
        self.calls = calls
