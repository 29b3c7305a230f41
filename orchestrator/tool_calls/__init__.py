"""Tool calls inside a model's text: one format a model, chosen by the catalogue's name for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.domain.errors import InvalidInput
from orchestrator.tool_calls.fenced_json import FencedJsonParser
from orchestrator.tool_calls.hermes import HermesParser
from orchestrator.tool_calls.json_calls import Llama3Parser
from orchestrator.tool_calls.mistral import MistralParser
from orchestrator.tool_calls.parser import NewCallId, ToolCallParser


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How models of a kind write calls, and what their chat templates insist on.

    `special_marks`: a mark is a special token, which engines leave out of the text unless
    told otherwise. `single_calls`: the template takes one call a message. `short_ids`: it
    takes ids of nine letters and digits only.
    """

    parser: Callable[[NewCallId], ToolCallParser]
    special_marks: bool = False
    single_calls: bool = False
    short_ids: bool = False


FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(HermesParser),
    "json": ToolFormat(FencedJsonParser),
    "llama3_json": ToolFormat(Llama3Parser, special_marks=True, single_calls=True),
    "mistral": ToolFormat(MistralParser, special_marks=True, short_ids=True),
}


def format_named(tool_format: str) -> ToolFormat:
    """Raises InvalidInput: there is no such format."""
    found = FORMATS.get(tool_format)
    if found is None:
        raise InvalidInput(
            f"tool_format {tool_format!r} is not known; it can be {', '.join(sorted(FORMATS))}",
            field="tool_format",
        )
    return found


def parser_for(tool_format: str, new_call_id: NewCallId) -> ToolCallParser:
    """Returns a parser for one answer.

    Raises:
        InvalidInput: there is no such format.
    """
    return format_named(tool_format).parser(new_call_id)
