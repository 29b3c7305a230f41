"""An answer that holds no tool calls, whatever its text looks like."""

from __future__ import annotations

from orchestrator.domain.chat import TextChunk
from orchestrator.tool_calls.parser import Piece, ToolCallParser


class PlainText(ToolCallParser):
    def feed(self, text: str) -> list[Piece]:
        return [TextChunk(text)] if text else []

    def close(self) -> list[Piece]:
        return []
