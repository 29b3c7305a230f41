"""Ids of tool calls: `call_1`, `call_2`, …"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from orchestrator.domain.messages import Message
from orchestrator.tool_calls.parser import NewCallId


def numbered(prefix: str = "call_", *, after: int = 0) -> NewCallId:
    """Returns a factory of `prefix` + number, from `after` + 1 on."""
    numbers = count(after + 1)
    return lambda: f"{prefix}{next(numbers)}"


def following(messages: Iterable[Message], prefix: str = "call_") -> NewCallId:
    """Returns a factory of ids above every one in the conversation.

    A step that is run again gives its calls the same ids again.
    """
    ids = (call.call_id for message in messages for call in message.tool_calls)
    tails = (name.removeprefix(prefix) for name in ids if name.startswith(prefix))
    used = (int(tail) for tail in tails if tail.isascii() and tail.isdigit() and len(tail) < 10)
    return numbered(prefix, after=max(used, default=0))
