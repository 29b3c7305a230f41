"""Mistral's formats, of the older tokenizers and the newer ones."""

from __future__ import annotations

import re

from orchestrator.tool_calls.json_call import checked_name, read_arguments
from orchestrator.tool_calls.json_calls import JsonCallParser, skip_space
from orchestrator.tool_calls.object_scan import ObjectScan
from orchestrator.tool_calls.parser import NewCallId
from orchestrator.tool_calls.scanning import malformed, may_begin

ARGS = "[ARGS]"
CALL_ID = "[CALL_ID]"
_NAME = re.compile(r"[A-Za-z0-9_.-]*")
_ID = re.compile(r"[\sA-Za-z0-9]*")
_MAX_NAME_CHARS = 64


class MistralParser(JsonCallParser):
    """`[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]` up to tokenizer version 7, from 11 on
    `[TOOL_CALLS]name{…}`, with `[CALL_ID]…` and `[ARGS]` before the arguments where the version
    has them, and the mark again for each call. A list of calls at the beginning of a line
    counts without its mark.

    https://docs.mistral.ai/cookbook/concept-deep-dive-tokenization-templates
    """

    mark = "[TOOL_CALLS]"
    openings = "["

    def __init__(self, new_call_id: NewCallId) -> None:
        super().__init__(new_call_id)
        self._name = ""

    def _marked(self, text: str, at: int) -> int:
        self._sure = True
        at = skip_space(text, at)
        if at < len(text):
            self._state = self._opening if text[at] == "[" else self._in_name
        return at

    def _in_name(self, text: str, at: int) -> int:
        found = _NAME.match(text, at, at + _MAX_NAME_CHARS + 1 - len(self._name))
        end = found.end() if found else at
        self._name += text[at:end]
        if end < len(text):
            checked_name(self._name)
            self._state = self._behind_name
        return end

    def _behind_name(self, text: str, at: int) -> int:
        at = skip_space(text, at)
        if text.startswith(ARGS, at):
            self._state = self._arguments
            return at + len(ARGS)
        if text.startswith(CALL_ID, at):
            self._state = self._in_id
            return at + len(CALL_ID)
        if may_begin(ARGS, text, at) or may_begin(CALL_ID, text, at):
            return at
        self._state = self._arguments
        return at

    def _in_id(self, text: str, at: int) -> int:
        found = _ID.match(text, at)
        end = found.end() if found else at
        if end < len(text):
            self._state = self._behind_name
        return end

    def _arguments(self, text: str, at: int) -> int:
        at = skip_space(text, at)
        if at < len(text):
            if text[at] != "{":
                malformed("a tool call can't be read: its name is not followed by a JSON object")
            self._scan = ObjectScan()
            self._state = self._object
        return at

    def _finish(self, body: str) -> None:
        if not self._name:
            super()._finish(body)
            return
        name, self._name = self._name, ""
        self._made(name, read_arguments(body))
