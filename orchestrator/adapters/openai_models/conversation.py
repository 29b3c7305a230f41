"""A chat request in OpenAI's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.adapters.provider_connection.answer_calls import wire_id
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import Message, Role


def messages(conversation: Iterable[Message]) -> list[dict[str, Any]]:
    return [_message(message) for message in conversation]


def tools(offered: Iterable[ToolSchema]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in offered
    ]


def _message(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.role is Role.TOOL:
        shown["tool_call_id"] = wire_id(message.run_id, message.tool_call_id)
    if message.tool_calls:
        shown["content"] = message.content or None
        shown["tool_calls"] = [
            {
                "id": wire_id(message.run_id, call.call_id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in message.tool_calls
        ]
    return shown
