"""A parser as states over the stream's text, each of which reads on from a position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NoReturn

from orchestrator.domain.chat import MalformedToolCall, ToolCallChunk
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Usage
from orchestrator.tool_calls.parser import NewCallId, Piece, ToolCallParser
from orchestrator.tool_calls.spacing import Spacing

State = Callable[[str, int], int]
"""Reads the text from a position on; returns where it stopped.

One that neither moves nor names another state waits for more text: what it left unread
comes again, so it may leave only what is shorter than a mark.
"""


class ScanningParser(ToolCallParser):
    """Time is linear in the text, however it is cut."""

    def __init__(self, new_call_id: NewCallId) -> None:
        self._new_call_id = new_call_id
        self._text = Spacing()
        self._state: State = self._first
        self._unread = ""
        self._pieces: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        text = self._unread + text
        at = 0
        while at < len(text):
            state = self._state
            moved = state(text, at)
            if moved == at and self._state == state:
                break
            at = moved
        self._unread = text[at:]
        return self._taken()

    def close(self) -> list[Piece]:
        self._end(self._unread)
        self._pieces += self._text.close()
        return self._taken()

    @abstractmethod
    def _first(self, text: str, at: int) -> int:
        """The state that an answer begins in."""

    @abstractmethod
    def _end(self, unread: str) -> None:
        """The stream has ended; says what was held back, or raises MalformedToolCall."""

    def _say(self, text: str) -> None:
        self._pieces += self._text.pass_on(text)

    def _call(self, name: str, arguments_json: str) -> None:
        self._text.take_call()
        call = ToolCall(call_id=self._new_call_id(), name=name, arguments_json=arguments_json)
        self._pieces.append(ToolCallChunk(call))

    def _taken(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces


def malformed(detail: str) -> NoReturn:
    raise MalformedToolCall(detail, Usage())


def may_begin(mark: str, text: str, at: int) -> bool:
    """Says whether the text from there on is the mark's beginning, or all of it."""
    return mark.startswith(text[at : at + len(mark)])


def beginning_of(mark: str, text: str) -> int:
    """Returns how many characters at the end of the text may grow into the mark."""
    for length in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
