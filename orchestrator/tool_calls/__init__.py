"""Tool calls inside a model's text: one parser a format, chosen by the catalogue's name for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.domain.errors import InvalidInput
from orchestrator.tool_calls.fenced_json import FencedJsonParser
from orchestrator.tool_calls.hermes import HermesParser
from orchestrator.tool_calls.json_calls import Llama3Parser
from orchestrator.tool_calls.mistral import MistralParser
from orchestrator.tool_calls.parser import NewCallId, ToolCallParser

FORMATS: Mapping[str, Callable[[NewCallId], ToolCallParser]] = {
    "hermes": HermesParser,
    "json": FencedJsonParser,
    "llama3_json": Llama3Parser,
    "mistral": MistralParser,
}


def parser_for(tool_format: str, new_call_id: NewCallId) -> ToolCallParser:
    """Returns a parser for one answer.

    Raises:
        InvalidInput: there is no such format.
    """
    make = FORMATS.get(tool_format)
    if make is None:
        raise InvalidInput(
            f"tool_format {tool_format!r} is not known; it can be {', '.join(sorted(FORMATS))}",
            field="tool_format",
        )
    return make(new_call_id)
