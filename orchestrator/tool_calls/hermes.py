"""The Hermes format: `<tool_call>{"name": …, "arguments": {…}}</tool_call>` amid text."""

from __future__ import annotations

import re

from orchestrator.tool_calls.json_call import MAX_CALL_CHARS, read_call, too_long
from orchestrator.tool_calls.parser import NewCallId
from orchestrator.tool_calls.scanning import ScanningParser, beginning_of, malformed, may_begin

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
_OUTSIDE_STRING = re.compile('"|<')
_IN_STRING = re.compile(r'["\\]')


class HermesParser(ScanningParser):
    """A closing tag inside a JSON string belongs to the string."""

    def __init__(self, new_call_id: NewCallId) -> None:
        super().__init__(new_call_id)
        self._body: list[str] = []
        self._length = 0

    def _first(self, text: str, at: int) -> int:
        found = text.find(OPEN, at)
        if found >= 0:
            self._say(text[at:found])
            self._state = self._outside_string
            return found + len(OPEN)
        end = len(text) - beginning_of(OPEN, text[max(at, len(text) - len(OPEN)) :])
        self._say(text[at:end])
        return end

    def _outside_string(self, text: str, at: int) -> int:
        if text.startswith(CLOSE, at):
            name, arguments = read_call("".join(self._body))
            self._call(name, arguments)
            self._body, self._length = [], 0
            self._state = self._first
            return at + len(CLOSE)
        if may_begin(CLOSE, text, at):
            return at
        found = _OUTSIDE_STRING.search(text, at + 1 if text[at] == "<" else at)
        if found is None:
            return self._keep(text, at, len(text))
        if found[0] == "<":
            return self._keep(text, at, found.start())
        self._state = self._in_string
        return self._keep(text, at, found.end())

    def _in_string(self, text: str, at: int) -> int:
        found = _IN_STRING.search(text, at)
        if found is None:
            return self._keep(text, at, len(text))
        self._state = self._outside_string if found[0] == '"' else self._escaped
        return self._keep(text, at, found.end())

    def _escaped(self, text: str, at: int) -> int:
        self._state = self._in_string
        return self._keep(text, at, at + 1)

    def _keep(self, text: str, at: int, end: int) -> int:
        self._length += end - at
        if self._length > MAX_CALL_CHARS:
            too_long()
        self._body.append(text[at:end])
        return end

    def _end(self, unread: str) -> None:
        if self._state == self._first:
            self._say(unread)
            return
        inside = "" if self._state == self._outside_string else ', inside a string: a " is missing'
        malformed(f"the answer ended inside a tool call: {CLOSE} is missing{inside}")
