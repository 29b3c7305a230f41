"""What of a session goes to the model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import Run

HISTORY_MESSAGES = 64
"""The newest messages that are read for a step."""

LEAST_RESULT_CHARS = 200
"""No tool result is shortened below this."""

_MARKER_CHARS = 40
_HEADROOM = 1.1  # the counts include what is not a message, such as the tools' schemas


def assemble(system_prompt: str, history: Sequence[Message], run: Run) -> tuple[Message, ...]:
    """The system prompt and the history from its first user message on.

    A run so long that its own input is no longer among `history` begins with its input and
    goes on with the oldest whole step there is.
    """
    system = (Message(role=Role.SYSTEM, content=system_prompt),) if system_prompt else ()
    for index, message in enumerate(history):
        if message.role is Role.USER:
            return (*system, *history[index:])
    first = next((i for i, m in enumerate(history) if m.role is Role.ASSISTANT), len(history))
    asked = Message(role=Role.USER, content=run.input, run_id=run.run_id)
    return (*system, asked, *history[first:])


def excess_chars(messages: Sequence[Message], error: InvalidInput) -> int:
    """Estimates from the model's exact counts in `error` how much these are too long."""
    used = int(error.metadata.get("prompt_tokens", 0))
    limit = int(error.metadata.get("limit_tokens", 0))
    if not used > limit > 0:
        return 1
    chars = sum(map(_size, messages))
    return max(1, math.ceil(_HEADROOM * chars * (used - limit) / used))


def fit(messages: Sequence[Message], excess: int) -> tuple[Message, ...]:
    """Leaves at least `excess` characters out, or as many as may be left out.

    Tool results are shortened first, from the oldest on; when that is not enough, the
    oldest turns go as a whole. The system prompt and the newest turn stay.
    """
    shortened, freed = _results_shortened(messages, excess)
    return _turns_dropped(shortened, excess - freed)


def _results_shortened(messages: Sequence[Message], excess: int) -> tuple[tuple[Message, ...], int]:
    kept: list[Message] = []
    freed = 0
    for message in messages:
        if freed < excess and message.role is Role.TOOL:
            shorter = _shortened(message, excess - freed)
            freed += len(message.content) - len(shorter.content)
            kept.append(shorter)
        else:
            kept.append(message)
    return tuple(kept), freed


def _shortened(result: Message, excess: int) -> Message:
    text = result.content
    keep = max(LEAST_RESULT_CHARS, len(text) - excess - _MARKER_CHARS)
    if len(text) <= keep + _MARKER_CHARS:
        return result
    marked = f"{text[:keep]}\n[… {len(text) - keep} characters left out]"
    return result.model_copy(update={"content": marked})


def _turns_dropped(messages: tuple[Message, ...], excess: int) -> tuple[Message, ...]:
    turns = [i for i, message in enumerate(messages) if message.role is Role.USER]
    start = first = turns[0] if turns else 0
    for following in turns[1:]:
        if excess <= 0:
            break
        excess -= sum(map(_size, messages[start:following]))
        start = following
    return (*messages[:first], *messages[start:])


def _size(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments_json) for call in message.tool_calls)
    return len(message.content) + calls
