"""Plain JSON calls, also inside a Markdown fence."""

from __future__ import annotations

from orchestrator.tool_calls.json_calls import JsonCallParser, skip_space
from orchestrator.tool_calls.parser import NewCallId
from orchestrator.tool_calls.scanning import may_begin

_MAX_INFO_CHARS = 16


class FencedJsonParser(JsonCallParser):
    """A fence marked `json`, or not at all, may hold calls; it goes with them. Other fenced
    text is code, in which nothing is a call.
    """

    mark = "```"

    def __init__(self, new_call_id: NewCallId) -> None:
        super().__init__(new_call_id)
        self._fenced = False  # around what may be a call
        self._in_code = False

    def _first(self, text: str, at: int) -> int:
        if not self._fenced:
            return super()._first(text, at)
        at = skip_space(text, at)
        if text.startswith(self.mark, at):
            self._fenced = self._behind_call = False
            return at + len(self.mark)
        if at == len(text) or may_begin(self.mark, text, at):
            return at
        if text[at] in ";,}]{[":
            return super()._first(text, at)
        return self._no_call(at)

    def _plain(self, text: str, at: int) -> int:
        found = text.find(self.mark, at) if self._in_code else -1
        if found < 0 and self._in_code:
            held = len(text) - len(text.rstrip("`"))
            found = max(at, len(text) - held)
            self._say(text[at:found])
            return found
        if found < 0:
            return super()._plain(text, at)
        found += len(self.mark)
        self._say(text[at:found])
        self._in_code = False
        return found

    def _marked(self, text: str, at: int) -> int:
        info, newline, _ = text[at : at + _MAX_INFO_CHARS].partition("\n")
        if not newline and len(info) < _MAX_INFO_CHARS:
            return at
        self._led = self.mark
        self._fenced = True
        if not newline or info.strip().lower() not in ("", "json"):
            return self._no_call(at)
        self._led += info + newline
        self._state = self._opening
        return at + len(info) + 1

    def _no_call(self, at: int) -> int:
        self._in_code = self._in_code or self._fenced
        self._fenced = False
        return super()._no_call(at)

    def _end(self, unread: str) -> None:
        if self._state == self._marked:
            self._state = self._plain
            unread = self.mark + unread
        super()._end("" if self._fenced and not self._led else unread)
