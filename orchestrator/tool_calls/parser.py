"""What every format's parser does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from orchestrator.domain.chat import TextChunk, ToolCallChunk

Piece = TextChunk | ToolCallChunk
NewCallId = Callable[[], str]


class ToolCallParser(ABC):
    """Splits a model's streamed text into text and complete tool calls, for one answer.

    However the stream is cut into pieces, the texts joined and the calls are the same.
    """

    @abstractmethod
    def feed(self, text: str) -> list[Piece]:
        """Takes the next part of the stream; returns what is certain by now.

        Raises:
            MalformedToolCall: a call ended and can't be read. Its usage is empty: the
                parser counts no tokens. The parser can't be fed again.
        """

    @abstractmethod
    def close(self) -> list[Piece]:
        """Ends the stream; returns what was held back.

        Raises:
            MalformedToolCall: the stream ended inside a call.
        """
