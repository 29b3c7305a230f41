"""The parameters of one call of `chat.completions`, and which of them a model refused."""

from __future__ import annotations

from collections.abc import Set
from typing import Any
from urllib.parse import urlsplit

from orchestrator.adapters.openai_models import conversation
from orchestrator.adapters.openai_models.structured import response_format
from orchestrator.adapters.provider_connection.failures import Refusal
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.output_schema import held_to

_OPENAI_HOSTS = (".openai.com", ".openai.azure.com")
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
CAN_GO = frozenset({"temperature", "top_p", "seed", "logprobs", "stream_options"})
"""Without these a model still answers what it was asked, if in its own way."""


def of_openai(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return f".{host}".endswith(_OPENAI_HOSTS)


def parameters(
    entry: ModelEntry,
    request: ChatRequest,
    room: int,
    *,
    openai: bool,
    refused: Set[str] = frozenset(),
) -> dict[str, Any]:
    """`openai`: the server is OpenAI's own, whose newer models refuse `max_tokens`."""
    sampling, output = request.sampling, request.output
    limit = "max_completion_tokens" if openai else "max_tokens"
    values: dict[str, Any] = {
        "model": entry.served_as,
        "messages": conversation.messages(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        _LIMITS[limit] if limit in refused else limit: room,
    }
    if request.tools and output is None:
        values["tools"] = conversation.tools(request.tools)
    if sampling.top_p is not None:
        values["top_p"] = sampling.top_p
    if sampling.stop and output is None:  # one may be part of the JSON
        values["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        values["seed"] = sampling.seed
    if request.confidence:
        values["logprobs"] = True
    if output is not None and entry.constrains:
        schema = held_to(output, tokens=room)
        values["response_format"] = response_format(schema, of_openai=openai)
    return {name: value for name, value in values.items() if name not in refused & CAN_GO}


def unsupported(refusal: Refusal) -> str:
    """The parameter that the model does not take, if it can do without it; else nothing.

    OpenAI's reasoning models refuse any temperature but their own, for one.
    """
    known = refusal.code in _UNSUPPORTED and refusal.param in CAN_GO | _LIMITS.keys()
    return refusal.param if known else ""
