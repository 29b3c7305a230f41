"""How many tokens a request may take, where only the provider can count them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest

BYTES_PER_TOKEN = 3
"""English has about 4, and what is mostly digits or brackets about 3."""
TOKENS_PER_PART = 8
"""The marks that a chat template puts around a message or a tool."""
MIN_ROOM_TOKENS = 32


def prompt_estimate(request: ChatRequest) -> int:
    """At least what most tokenizers make of it: a budget is rather kept than used up."""
    return sum(
        -(-len(part.encode()) // BYTES_PER_TOKEN) + TOKENS_PER_PART for part in sent(request)
    )


def likely_tokens(request: ChatRequest) -> int:
    """What an average tokenizer makes of it."""
    return prompt_estimate(request) * 3 // 4


def new_tokens(entry: ModelEntry, request: ChatRequest, estimate: int) -> int:
    """How many tokens the answer may have.

    Whether the prompt fits is for the provider to say: an estimate refuses nothing.

    Raises:
        Exhausted: BUDGET.
    """
    wanted = min(request.sampling.max_tokens or entry.max_new_tokens, entry.max_new_tokens)
    room = max(entry.context_tokens - estimate, min(wanted, MIN_ROOM_TOKENS))
    return request.allowance.new_tokens(estimate, min(wanted, room))


def sent(request: ChatRequest) -> Iterator[str]:
    """Every text that goes out, which no error may quote."""
    for message in request.messages:
        yield message.content
        yield from (call.arguments_json for call in message.tool_calls)
    for tool in request.tools:
        yield f"{tool.name} {tool.description} {json.dumps(dict(tool.parameters))}"
    if request.output is not None:
        yield json.dumps(dict(request.output.schema))
