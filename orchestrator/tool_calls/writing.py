"""A conversation as the chat templates of a format take it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from orchestrator.domain.messages import Message, Role
from orchestrator.tool_calls import ToolFormat

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SHORT_ID_CHARS = 9


def for_template(messages: Sequence[Message], form: ToolFormat) -> tuple[Message, ...]:
    """Says the same in the shape that the format's templates insist on."""
    shaped: Iterable[Message] = messages
    if form.single_calls:
        shaped = _single_calls(messages)
    if form.short_ids:
        shaped = map(_with_short_ids, shaped)
    return tuple(shaped)


def _single_calls(messages: Sequence[Message]) -> Iterator[Message]:
    """Puts each result right behind its call, with its call alone in a message."""
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        if len(message.tool_calls) < 2:
            yield message
            continue
        results: list[Message] = []
        while at < len(messages) and messages[at].role is Role.TOOL:
            results.append(messages[at])
            at += 1
        for number, call in enumerate(message.tool_calls):
            content = message.content if number == 0 else ""
            yield message.model_copy(update={"content": content, "tool_calls": (call,)})
            yield from (result for result in results if result.tool_call_id == call.call_id)


def _with_short_ids(message: Message) -> Message:
    calls = tuple(
        call.model_copy(update={"call_id": _short(message.run_id, call.call_id)})
        for call in message.tool_calls
    )
    of = _short(message.run_id, message.tool_call_id) if message.tool_call_id else ""
    return message.model_copy(update={"tool_calls": calls, "tool_call_id": of})


def _short(run_id: str, call_id: str) -> str:
    """The same for the same call, so that a prompt's beginning stays as it was."""
    if len(call_id) == _SHORT_ID_CHARS and call_id.isascii() and call_id.isalnum():
        return call_id
    number = int.from_bytes(blake2b(f"{run_id}:{call_id}".encode(), digest_size=8).digest(), "big")
    return "".join(
        _LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)]
        for place in range(_SHORT_ID_CHARS)
    )
