"""White space between texts and calls."""

from __future__ import annotations

from orchestrator.domain.chat import TextChunk
from orchestrator.tool_calls.parser import Piece

MAX_HELD_CHARS = 1024


class Spacing:
    """White space between a call and the answer's beginning or end is dropped; between two
    texts it stays, with the call taken out of it. At most 1,024 characters are held back.
    """

    def __init__(self) -> None:
        self._space = ""
        self._after_call = False
        self._spoke = False

    def pass_on(self, text: str) -> list[Piece]:
        words = text.rstrip()
        if not words:
            return self._hold(text)
        trailing = text[len(words) :]
        if self._after_call and not self._spoke:
            self._space, words = "", words.lstrip()
        piece = TextChunk(self._space + words)
        self._space = ""
        self._spoke, self._after_call = True, False
        return [piece, *self._hold(trailing)]

    def take_call(self) -> None:
        self._after_call = True

    def close(self) -> list[Piece]:
        return [TextChunk(self._space)] if self._space and not self._after_call else []

    def _hold(self, space: str) -> list[Piece]:
        held = self._space + space
        over, self._space = held[:-MAX_HELD_CHARS], held[-MAX_HELD_CHARS:]
        return [TextChunk(over)] if over and (self._spoke or not self._after_call) else []
