"""The parameters of one call of `messages`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from orchestrator.adapters.anthropic_models import conversation
from orchestrator.adapters.anthropic_models.structured import instruction, output_format
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.output_schema import held_to

_ANTHROPIC_HOST = ".anthropic.com"


def of_anthropic(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return f".{host}".endswith(_ANTHROPIC_HOST)


def parameters(
    entry: ModelEntry, request: ChatRequest, room: int, *, anthropic: bool
) -> dict[str, Any]:
    """`anthropic`: the server is Anthropic's own, whose API has no temperature and no top_p any
    more; others take them.
    """
    sampling, output = request.sampling, request.output
    values: dict[str, Any] = {
        "model": entry.served_as,
        "messages": conversation.messages(request.messages),
        "max_tokens": room,
        "stream": True,
    }
    system = conversation.system_prompt(request.messages)
    if request.tools and output is None:
        values["tools"] = conversation.tools(request.tools)
    if sampling.stop and output is None:  # one may be part of the JSON
        values["stop_sequences"] = list(sampling.stop)
    if output is not None and entry.constrains:
        schema = held_to(output, tokens=room)
        form = output_format(schema, of_anthropic=anthropic)
        if form is not None:
            values["output_config"] = {"format": form}
        else:
            system = "\n\n".join(filter(None, (system, instruction(schema))))
    if system:
        values["system"] = system
    if not anthropic:
        values["extra_body"] = {"temperature": sampling.temperature}
        if sampling.top_p is not None:
            values["extra_body"]["top_p"] = sampling.top_p
    return values
