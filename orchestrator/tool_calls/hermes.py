"""The Hermes format: `<tool_call>{"name": …, "arguments": {…}}</tool_call>` amid text."""

from __future__ import annotations

from orchestrator.domain.chat import MalformedToolCall, TextChunk, ToolCallChunk
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Usage
from orchestrator.tool_calls.json_call import read_call
from orchestrator.tool_calls.parser import NewCallId, Piece, ToolCallParser

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
MAX_CALL_CHARS = 32_768


class HermesParser(ToolCallParser):
    """White space between a call and the answer's beginning or end is dropped; between two
    texts it stays, with the call taken out of it.

    A closing tag inside a JSON string belongs to the string.
    """

    def __init__(self, new_call_id: NewCallId) -> None:
        self._new_call_id = new_call_id
        self._outside = _Outside()
        self._body: _Body | None = None

    def feed(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        while text:
            if self._body is None:
                passed, found, text = self._outside.take(text)
                pieces += passed
                self._body = _Body() if found else None
            else:
                body, text = self._body.take(text)
                if body is not None:
                    name, arguments = read_call(body)
                    call = ToolCall(
                        call_id=self._new_call_id(), name=name, arguments_json=arguments
                    )
                    pieces.append(ToolCallChunk(call))
                    self._body = None
        return pieces

    def close(self) -> list[Piece]:
        if self._body is not None:
            raise MalformedToolCall(
                f"the answer ended inside a tool call: {CLOSE} is missing", Usage()
            )
        return self._outside.close()


class _Outside:
    """Text outside calls: holds back what may be a tag's beginning, and white space."""

    def __init__(self) -> None:
        self._maybe_tag = ""
        self._space = ""
        self._after_call = False
        self._spoke = False

    def take(self, text: str) -> tuple[list[Piece], bool, str]:
        """Returns the text to pass on, whether a call begins, and the rest from there on."""
        text = self._maybe_tag + text
        before, tag, rest = text.partition(OPEN)
        self._maybe_tag = "" if tag else _tag_beginning(before)
        pieces = self._pass_on(before.removesuffix(self._maybe_tag))
        if tag:
            self._after_call = True
        return pieces, bool(tag), rest

    def close(self) -> list[Piece]:
        pieces = self._pass_on(self._maybe_tag)
        if self._space and not self._after_call:
            pieces.append(TextChunk(self._space))
        return pieces

    def _pass_on(self, text: str) -> list[Piece]:
        words = text.rstrip()
        if not words:
            self._space += text
            return []
        if self._after_call and not self._spoke:
            self._space, words = "", words.lstrip()
        piece = TextChunk(self._space + words)
        self._space = text[len(text.rstrip()) :]
        self._spoke, self._after_call = True, False
        return [piece]


class _Body:
    """The inside of a call, up to the first closing tag that is not inside a JSON string."""

    def __init__(self) -> None:
        self._text = ""
        self._in_string = False
        self._escaped = False

    def take(self, text: str) -> tuple[str | None, str]:
        """Returns the whole body once it has ended, and the rest of the text."""
        start = len(self._text)
        self._text += text
        for at in range(start, len(self._text)):
            if at >= MAX_CALL_CHARS:
                raise MalformedToolCall(
                    f"a tool call is longer than {MAX_CALL_CHARS} characters", Usage()
                )
            self._see(self._text[at])
            if not self._in_string and self._text.endswith(CLOSE, 0, at + 1):
                return self._text[: at + 1 - len(CLOSE)], self._text[at + 1 :]
        return None, ""

    def _see(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == '"':
            self._in_string = not self._in_string
        elif char == "\\":
            self._escaped = self._in_string


def _tag_beginning(text: str) -> str:
    """Returns the longest end of the text that may grow into an opening tag."""
    for length in range(min(len(text), len(OPEN) - 1), 0, -1):
        if OPEN.startswith(text[-length:]):
            return text[-length:]
    return ""
