"""One streamed answer of OpenAI's API."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from orchestrator.adapters.provider_connection.answer import (
    Answer,
    count,
    elements,
    members,
    text,
)
from orchestrator.domain.chat import ChatRequest, FinishReason
from orchestrator.domain.runs import Usage

# After OpenAI's own, those of servers with words of their own for the same.
_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
}


class OpenAIAnswer(Answer):
    """Reads `chat.completion.chunk` objects; the last has the usage and no choice."""

    def __init__(self, provider: str, request: ChatRequest, prompt_tokens: int) -> None:
        super().__init__(provider, request, prompt_tokens)
        self._logprobs = 0.0
        self._tokens = 0
        self._ids: dict[Hashable, str] = {}  # of the call that an index stands for now
        self._last: Hashable = None

    @property
    def confidence(self) -> float | None:
        return math.exp(self._logprobs / self._tokens) if self._tokens else None

    def _read(self, piece: object) -> str:
        chunk = members(piece)
        shown = [self._choice(members(choice)) for choice in elements(chunk.get("choices"))[:1]]
        if chunk.get("usage") is not None:
            self._counted(_usage(members(chunk["usage"])))
        return "".join(shown)

    def _choice(self, choice: dict[str, object]) -> str:
        delta = members(choice.get("delta") or {})
        self._ended = text(choice.get("finish_reason")) or self._ended
        if choice.get("logprobs") is not None:
            self._sure(members(choice["logprobs"]))
        for call in elements(delta.get("tool_calls")):
            self._call(members(call))
        for hidden in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(hidden), str):
                self._took(thought)
        said = text(delta.get("content")) + text(delta.get("refusal"))
        self._took(said)
        return said

    def _call(self, call: dict[str, object]) -> None:
        """The first piece of a call has its id and name. Some servers count no indices."""
        index, new_id = call.get("index"), text(call.get("id"))
        if not isinstance(index, int):
            index = self._last if not new_id and isinstance(self._last, int) else len(self._ids)
        known = self._ids.get(index, "")
        if new_id and known and new_id != known:
            index = len(self._ids) + len(known)
        if new_id:
            self._ids[index] = new_id
        self._last = index
        function = members(call.get("function") or {})
        if name := text(function.get("name")):
            self._name(index, name)
        self._arguments(index, text(function.get("arguments")))

    def _sure(self, logprobs: dict[str, object]) -> None:
        for token in elements(logprobs.get("content")):
            logprob = members(token).get("logprob")
            if isinstance(logprob, int | float) and math.isfinite(logprob):
                self._logprobs += logprob
                self._tokens += 1

    def _reason(self, ended: str) -> FinishReason | None:
        return _REASONS.get(ended)


def _usage(usage: dict[str, object]) -> Usage:
    details = members(usage.get("prompt_tokens_details") or {})
    prompt = count(usage.get("prompt_tokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=count(usage.get("completion_tokens")),
        cached_prompt_tokens=min(prompt, count(details.get("cached_tokens"))),
    )
