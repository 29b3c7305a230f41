"""What of a session goes to the model."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role

HISTORY_MESSAGES = 64
"""The newest messages that are read for a step."""


def assemble(system_prompt: str, history: Sequence[Message]) -> tuple[Message, ...]:
    """The system prompt and the history from its first user message on."""
    first = next((i for i, m in enumerate(history) if m.role is Role.USER), len(history))
    system = (Message(role=Role.SYSTEM, content=system_prompt),) if system_prompt else ()
    return (*system, *history[first:])


def shorten(messages: Sequence[Message], error: InvalidInput) -> tuple[Message, ...]:
    """Drops the oldest turns of a conversation that did not fit; the last turn stays.

    As many turns go as the error's token counts suggest, at least one.

    Raises:
        InvalidInput: `error` itself, when only the last turn is left.
    """
    system = tuple(m for m in messages[:1] if m.role is Role.SYSTEM)
    rest = messages[len(system) :]
    turns = [i for i, m in enumerate(rest) if m.role is Role.USER]
    if len(turns) < 2:
        raise error
    used = int(error.metadata.get("prompt_tokens", 0))
    limit = int(error.metadata.get("limit_tokens", 0))
    share = (used - limit) / used if used > limit > 0 else 0.0
    drop = max(1, int(share * len(turns)))
    return (*system, *rest[turns[min(drop, len(turns) - 1)] :])
