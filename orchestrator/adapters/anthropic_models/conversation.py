"""A chat request in Anthropic's words: turns of blocks, the system prompt apart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from orchestrator.adapters.provider_connection.answer_calls import wire_id
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role, ToolCall

Block = dict[str, Any]


def system_prompt(conversation: Iterable[Message]) -> str:
    said = (message.content for message in conversation if message.role is Role.SYSTEM)
    return "\n\n".join(text for text in said if text.strip())


def messages(conversation: Iterable[Message]) -> list[dict[str, Any]]:
    """Users and the assistant take turns: what follows one another from one side is one turn.

    The results of several calls have to be in one.
    """
    turns: list[dict[str, Any]] = []
    for message in conversation:
        blocks = _blocks(message)
        if message.role is Role.SYSTEM or not blocks:
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def tools(offered: Iterable[ToolSchema]) -> list[dict[str, Any]]:
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": {"type": "object", **tool.parameters},
        }
        for tool in offered
    ]


def _blocks(message: Message) -> list[Block]:
    if message.role is Role.TOOL:
        call_id = wire_id(message.run_id, message.tool_call_id)
        return [{"type": "tool_result", "tool_use_id": call_id, "content": message.content}]
    # An empty text is refused.
    said = [{"type": "text", "text": message.content}] if message.content.strip() else []
    return said + [
        {
            "type": "tool_use",
            "id": wire_id(message.run_id, call.call_id),
            "name": call.name,
            "input": _arguments(call),
        }
        for call in message.tool_calls
    ]


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        read = _without_surrogates(json.loads(call.arguments_json or "{}"))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise InvalidInput(
            f"the arguments of the call of {call.name} are no JSON object", field="messages"
        )
    return read


def _without_surrogates(read: Any) -> Any:
    """An escape in JSON can be half of a character, which can't be sent."""
    written = json.dumps(read, ensure_ascii=False)
    return read if written.isascii() else json.loads(written.encode("utf-8", "replace"))
