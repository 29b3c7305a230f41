"""Tools: what a model may call."""

from __future__ import annotations

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
class ToolSpec:
    schema: ToolSchema
    effect: Effect = Effect.PURE
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`content` is what the model sees: JSON or plain text, also for an error."""

    ok: bool
    content: str
