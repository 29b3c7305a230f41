"""Calls that are plain JSON: an object, several, or an array of them."""

from __future__ import annotations

import re

from orchestrator.tool_calls.json_call import read_call, too_long
from orchestrator.tool_calls.object_scan import ObjectScan
from orchestrator.tool_calls.parser import NewCallId
from orchestrator.tool_calls.scanning import ScanningParser, beginning_of, malformed, may_begin

_SPACE = re.compile(r"\s*")
_MAX_LED_CHARS = 1024


class JsonCallParser(ScanningParser):
    """An object counts as a call when its keys are `name` and `arguments` (or `parameters`),
    and no others but `id` and `type: function`; anything else is text, and passed on as soon
    as that is certain. It may stand at the beginning of the answer or of a line, behind another
    call, or behind the format's mark, where it must be a call.

    An array whose first element is a call has calls only.
    """

    mark = ""
    """What announces a call, or may."""

    openings = "{["
    """What a call that nothing announces may begin with."""

    def __init__(self, new_call_id: NewCallId) -> None:
        super().__init__(new_call_id)
        self._scan = ObjectScan()
        self._led = ""  # passed on as text if what follows is no call
        self._sure = False
        self._in_array = False
        self._behind_call = False
        lines = [f"\n{char}" for char in self.openings]
        self._marks = [*([self.mark] if self.mark else []), *lines]
        self._any_mark = re.compile("|".join(map(re.escape, self._marks)))

    def _first(self, text: str, at: int) -> int:
        """The beginning of the answer or of a line, or behind a call."""
        start, at = at, skip_space(text, at)
        self._say(text[start:at])
        if at == len(text):
            return at
        behind_call, self._behind_call = self._behind_call, False
        if behind_call and text[at] in ";,":
            return at + 1
        if behind_call and text[at] in "}]":
            malformed(f"a tool call can't be read: a {text[at]} too many follows it")
        if self.mark and text.startswith(self.mark, at):
            self._state = self._marked
            return at + len(self.mark)
        if self.mark and may_begin(self.mark, text, at):
            self._behind_call = behind_call
            return at
        self._state = self._opening if text[at] in self.openings else self._plain
        return at

    def _plain(self, text: str, at: int) -> int:
        found = self._any_mark.search(text, at)
        if found is None:
            held = max(beginning_of(mark, text[max(at, len(text) - 64) :]) for mark in self._marks)
            self._say(text[at : len(text) - held])
            return len(text) - held
        if found[0] == self.mark:
            self._say(text[at : found.start()])
            self._state = self._marked
            return found.end()
        self._say(text[at : found.start() + 1])
        self._state = self._first
        return found.start() + 1

    def _marked(self, text: str, at: int) -> int:  # noqa: ARG002 - as all states
        """Behind the mark: a call, or a malformed one."""
        self._sure = True
        self._state = self._opening
        return at

    def _opening(self, text: str, at: int) -> int:
        start, at = at, skip_space(text, at)
        if not self._sure:
            at = min(at, start + _MAX_LED_CHARS - len(self._led))
            self._led += text[start:at]
        if at == len(text):
            return at
        if text[at] == "[" and not self._in_array:
            self._in_array = True
            self._led += "["
            return at + 1
        if text[at] == "{":
            self._scan = ObjectScan()
            self._state = self._object
            return at
        if not self._sure:
            return self._no_call(at)
        if text[at] != "]" or not self._in_array:
            malformed("a tool call can't be read: it must be a JSON object")
        return self._close_array(at)

    def _object(self, text: str, at: int) -> int:
        at = self._scan.take(text, at, whatever=self._sure)
        scan = self._scan
        if scan.ended and (self._sure or scan.is_call):
            self._finish(scan.text)
        elif scan.too_long and (self._sure or scan.has_call_keys):
            too_long()
        elif not self._sure and (scan.ended or scan.foreign or scan.too_long):
            self._led += scan.text
            return self._no_call(at)
        return at

    def _finish(self, body: str) -> None:
        name, arguments = read_call(body)
        self._made(name, arguments)

    def _made(self, name: str, arguments: str) -> None:
        self._call(name, arguments)
        self._led = ""
        self._sure = self._in_array
        self._behind_call = not self._in_array
        self._state = self._between if self._in_array else self._first

    def _between(self, text: str, at: int) -> int:
        """Behind an element of an array of calls."""
        at = skip_space(text, at)
        if at == len(text):
            return at
        if text[at] == "]":
            return self._close_array(at)
        if text[at] != ",":
            malformed("a tool call can't be read: a list of them goes on with neither , nor ]")
        self._state = self._opening
        return at + 1

    def _close_array(self, at: int) -> int:
        self._led, self._sure, self._in_array, self._behind_call = "", False, False, True
        self._text.take_call()
        self._state = self._first
        return at + 1

    def _no_call(self, at: int) -> int:
        self._say(self._led)
        self._led, self._in_array = "", False
        self._state = self._plain
        return at

    def _end(self, unread: str) -> None:
        inside = self._state == self._object
        sure = self._sure or self._state == self._marked
        if sure or (inside and self._scan.has_call_keys):
            malformed("the answer ended inside a tool call")
        self._say(self._led + (self._scan.text if inside else "") + unread)


def skip_space(text: str, at: int) -> int:
    spaces = _SPACE.match(text, at)
    return spaces.end() if spaces else at


class Llama3Parser(JsonCallParser):
    """Llama 3.1's JSON: `{"name": …, "parameters": {…}}`, several separated by `;`, optionally
    behind `<|python_tag|>`.

    https://github.com/meta-llama/llama-models/blob/main/models/llama3_1/prompt_format.md
    """

    mark = "<|python_tag|>"
