"""Tools: what a model may call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.chat import ToolSchema


class Effect(StrEnum):
    """What running a call twice does.

    PURE: nothing. IDEMPOTENT: nothing, given the same key. AT_MOST_ONCE: harm;
    a call whose outcome is unknown is never run again by itself.
    """

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    AT_MOST_ONCE = "at_most_once"


@dataclass(frozen=True, slots=True)
class ToolRetry:
    """How often a call is tried in all, and the bounds of the full-jitter waits between."""

    max_attempts: int = 3
    base_s: float = 0.5
    cap_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What the service must know of a tool.

    `timeout_s` bounds one try, waiting for a free place included. `concurrency`
    is how many calls one process runs at once, 0 for no limit. `kind` says who
    runs it, for people.
    """

    schema: ToolSchema
    effect: Effect = Effect.PURE
    timeout_s: float = 10.0
    concurrency: int = 0
    retry: ToolRetry = ToolRetry()
    needs_approval: bool = False
    kind: str = "python"


class Outcome(StrEnum):
    """How one try of a call ended.

    OK: it did what it was asked. FAILED: it did not and would not; the model reads
    why. TRANSIENT: it did not happen, or is safe to repeat; another try may succeed.
    UNKNOWN: it may have happened.
    """

    OK = "ok"
    FAILED = "failed"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`content` is what the model sees: JSON or plain text, also for an error.

    `retry_after_s` is the least wait before another try, when the tool named one.
    """

    outcome: Outcome
    content: str
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK


def failure(
    why: str, outcome: Outcome = Outcome.FAILED, *, retry_after_s: float = 0.0
) -> ToolResult:
    """A result that is no success, in the form in which the model reads all of them."""
    return ToolResult(outcome, json.dumps({"error": why}, ensure_ascii=False), retry_after_s)
