"""A chat request in the JSON that Triton's models read: OpenAI's shapes, vLLM's sampling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from orchestrator.domain.agents import Sampling
from orchestrator.domain.catalogue import StructuredFormat
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import Message, Role


def messages_json(messages: Iterable[Message]) -> str:
    return _dump([_message(message) for message in messages])


def tools_json(tools: Iterable[ToolSchema]) -> str:
    return _dump([{"type": "function", "function": _function(tool)} for tool in tools])


def sampling_json(sampling: Sampling, *, max_tokens: int, **more: Any) -> str:
    values: dict[str, Any] = {"temperature": sampling.temperature, "max_tokens": max_tokens, **more}
    if sampling.top_p is not None:
        values["top_p"] = sampling.top_p
    if sampling.stop:
        values["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        values["seed"] = sampling.seed
    return _dump(values)


def held_to_schema(schema: dict[str, Any], form: StructuredFormat) -> dict[str, Any]:
    """Sampling parameters that hold an engine to the schema.

    White space is fixed where that can be asked for: a weak model may write nothing else.
    """
    if form is StructuredFormat.GUIDED_JSON:
        return {form.value: schema}
    return {form.value: {"json": schema, "disable_any_whitespace": True}}


def _message(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.tool_calls:
        shown["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        shown["tool_call_id"] = message.tool_call_id
    if message.name:
        shown["name"] = message.name
    return shown


def _function(tool: ToolSchema) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
