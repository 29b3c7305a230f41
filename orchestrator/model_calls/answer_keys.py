"""What decides an answer, as a digest: nobody can read the prompt from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.messages import Message
from orchestrator.ports.answers import AnswerKey


def cacheable(request: ChatRequest) -> bool:
    """Greedy decoding of the same prompt gives the same answer; a tenant bounds who shares it."""
    return request.sampling.temperature == 0 and request.tenant != ""


def answer_key(request: ChatRequest, entry: ModelEntry, version: str) -> AnswerKey:
    """`version` is that of the model."""
    parts = [*_surroundings(request, entry, version), _messages(request.messages)]
    return AnswerKey(request.tenant, digest(*parts))


def group_digest(request: ChatRequest, entry: ModelEntry, version: str, *more: Any) -> str:
    """Of all that decides the answer but the last message's text, and of `more`."""
    *before, last = request.messages
    without = [*before, last.model_copy(update={"content": ""})]
    return digest(*_surroundings(request, entry, version), _messages(without), *more)


def flight_name(key: AnswerKey, request: ChatRequest) -> str:
    """Requests of one name can share an answer that was not stored: it may be cut short by what
    their budgets leave.
    """
    allowance = request.allowance
    if allowance.tokens is None and allowance.cost_micros is None:
        return key.digest
    return digest(key.digest, allowance.tokens, allowance.cost_micros)


def digest(*parts: Any) -> str:
    # Keys keep their order: a template writes a tool's schema as it comes.
    text = json.dumps(parts, separators=(",", ":"), default=dict)
    return sha256(text.encode()).hexdigest()


def _surroundings(request: ChatRequest, entry: ModelEntry, version: str) -> list[Any]:
    sampling, output = request.sampling, request.output
    return [
        request.tenant,
        [entry.name, entry.provider, entry.served_as, version],
        [entry.context_tokens, entry.max_new_tokens, entry.tool_format, entry.structured_format],
        entry.constrains,
        [sampling.max_tokens, sampling.top_p, sampling.stop, sampling.seed],
        [[tool.name, tool.description, tool.parameters] for tool in request.tools],
        None if output is None else [output.schema, output.brief],
        request.confidence,
    ]


def _messages(messages: Sequence[Message]) -> list[Any]:
    """Without the run that said them: no model sees it."""
    return [
        [
            message.role,
            message.content,
            [[call.call_id, call.name, call.arguments_json] for call in message.tool_calls],
            message.tool_call_id,
            message.name,
        ]
        for message in messages
    ]
