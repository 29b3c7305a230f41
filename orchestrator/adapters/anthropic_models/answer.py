"""One streamed answer of Anthropic's API."""

from __future__ import annotations

import json
from collections.abc import Mapping

from orchestrator.adapters.provider_connection.answer import (
    CONTENT_FILTER,
    Answer,
    count,
    members,
    text,
)
from orchestrator.domain.chat import FinishReason
from orchestrator.domain.runs import Usage

_REASONS: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
}
_REFUSAL = "refusal"
_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class AnthropicAnswer(Answer):
    """Reads the events of a message. Input is counted in its first, output in its last."""

    _counts: Mapping[str, int] = {}

    def _read(self, piece: object) -> str:
        event = members(piece)
        match event.get("type"):
            case "message_start":
                message = members(event.get("message") or {})
                self._begun(members(message.get("usage") or {}))
            case "content_block_start":
                return self._block(event.get("index"), members(event.get("content_block") or {}))
            case "content_block_delta":
                return self._delta(event.get("index"), members(event.get("delta") or {}))
            case "message_delta":
                delta = members(event.get("delta") or {})
                self._ended = text(delta.get("stop_reason")) or self._ended
                self._ended = CONTENT_FILTER if self._ended == _REFUSAL else self._ended
                if event.get("usage") is not None:
                    self._counted(self._usage(members(event["usage"])))
        return ""

    def _begun(self, usage: dict[str, object]) -> None:
        begun = self._usage(usage)
        if begun.prompt_tokens:
            written = {"completion_tokens": self.usage.completion_tokens}
            self._request.meter.usage = begun.model_copy(update=written)

    def _block(self, index: object, block: dict[str, object]) -> str:
        if block.get("type") == "tool_use":
            self._name(index, text(block.get("name")))
            if block.get("input"):  # mostly it follows in pieces
                self._arguments(index, json.dumps(block["input"], ensure_ascii=False))
        said = text(block.get("text")) if block.get("type") == "text" else ""
        self._took(said)
        return said

    def _delta(self, index: object, delta: dict[str, object]) -> str:
        match delta.get("type"):
            case "text_delta":
                said = text(delta.get("text"))
                self._took(said)
                return said
            case "input_json_delta":
                self._arguments(index, text(delta.get("partial_json")))
            case "thinking_delta":
                self._took(text(delta.get("thinking")))
        return ""

    def _usage(self, usage: dict[str, object]) -> Usage:
        """Counts are cumulative, and left out where they did not change."""
        told = {name: count(usage[name]) for name in _INPUT_COUNTS if usage.get(name) is not None}
        self._counts = {**self._counts, **told}
        return Usage(
            prompt_tokens=sum(self._counts.values()) or self.usage.prompt_tokens,
            completion_tokens=count(usage.get("output_tokens")),
            cached_prompt_tokens=self._counts.get("cache_read_input_tokens", 0),
        )

    def _reason(self, ended: str) -> FinishReason | None:
        return _REASONS.get(ended)
