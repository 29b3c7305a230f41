"""The tool calls of one answer, put together from its stream, and their ids."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from orchestrator.domain.messages import ToolCall
from orchestrator.tool_calls.call_ids import numbered
from orchestrator.tool_calls.json_call import MAX_CALL_CHARS, checked_name, read_arguments, too_long

_WIRE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class _Part:
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    chars: int = 0


class AnswerCalls:
    """Each call has a key of the stream's own, and they are in the order in which they began."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Part] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def name(self, key: Hashable, name: str) -> None:
        self._parts.setdefault(key, _Part()).name = name

    def arguments(self, key: Hashable, text: str) -> None:
        """Raises MalformedToolCall: the call is longer than any may be."""
        part = self._parts.setdefault(key, _Part())
        part.arguments.append(text)
        part.chars += len(text)
        if part.chars > MAX_CALL_CHARS:
            too_long()

    def said(self) -> str:
        return "".join(
            f'\n{{"name": "{part.name}", "arguments": {"".join(part.arguments)}}}'
            for part in self._parts.values()
        )

    def whole(self) -> Iterator[ToolCall]:
        """Raises MalformedToolCall."""
        new_id = numbered()
        for part in self._parts.values():
            written = "".join(part.arguments).strip() or "{}"
            yield ToolCall(
                call_id=new_id(),
                name=checked_name(part.name),
                arguments_json=read_arguments(written),
            )


def wire_id(run_id: str, call_id: str) -> str:
    """An id that is unique in a session, of characters that every provider takes.

    The same for the same call, so that a prompt's beginning stays as it was.
    """
    if not run_id and _WIRE_ID.fullmatch(call_id):
        return call_id
    return "call_" + blake2b(f"{run_id}:{call_id}".encode(), digest_size=12).hexdigest()
