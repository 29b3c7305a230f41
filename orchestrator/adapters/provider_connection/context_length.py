"""Reads from a refusal that the prompt was too long, and by how much."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CODES = frozenset(
    {
        "context_length_exceeded",  # OpenAI
        "exceed_context_size_error",  # llama.cpp
    }
)
_SAYS_SO = re.compile(
    r"maximum context length|context length is only|prompt is too long|exceeds? (the )?context"
    r"|(exceeds|longer than) the (available |maximum )?(context|model)"
    r"|input length|input tokens exceed",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    r"(?:maximum context length is|context length is only|context limit: \d+ \+ \d+ >"
    r"|configured limit of|tokens? >) (\d+)",
    re.IGNORECASE,
)
_PROMPT = (
    re.compile(r"contains at least (\d+) input tokens"),  # vLLM
    re.compile(r"passed (\d+) input tokens"),
    re.compile(r"\((\d+) in the (?:messages|prompt)"),  # OpenAI, with what the answer may have
    re.compile(r"messages resulted in (\d+) tokens"),
    re.compile(r"too long: (\d+) tokens"),  # Anthropic
    re.compile(r"context limit: (\d+) \+"),
)
_ANSWER = (
    re.compile(r"requested (\d+) output tokens"),
    re.compile(r"(\d+) in (?:the|your) completion"),
    re.compile(r"context limit: \d+ \+ (\d+)"),
)


@dataclass(frozen=True, slots=True)
class TooLong:
    """`limit_tokens` is what the prompt may have; 0 where a number was not told.

    `at_least`: the server stopped counting there.
    """

    prompt_tokens: int = 0
    limit_tokens: int = 0
    at_least: bool = False


def too_long(code: str, message: str, more: Mapping[str, object]) -> TooLong | None:
    """`more` are the other members of the error, where llama.cpp tells the numbers."""
    if code not in _CODES and not _SAYS_SO.search(message):
        return None
    prompt, total = more.get("n_prompt_tokens"), more.get("n_ctx")
    if isinstance(prompt, int) and isinstance(total, int):
        return TooLong(prompt, total)
    tokens, limit = _first(_PROMPT, message), _first((_TOTAL,), message)
    limit = max(0, limit - _first(_ANSWER, message))
    return TooLong(tokens, limit, at_least="at least" in message)


def _first(patterns: tuple[re.Pattern[str], ...], message: str) -> int:
    matches = (pattern.search(message) for pattern in patterns)
    return next((int(match[1]) for match in matches if match), 0)
