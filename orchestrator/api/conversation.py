"""What a caller may send as a conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from orchestrator.api import limits
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role, ToolCall


def check_messages(messages: Sequence[Message]) -> None:
    limits.count(messages, "messages", at_least=1, at_most=limits.MESSAGES)
    for i, message in enumerate(messages):
        _check_message(message, f"messages[{i}]")
    size = sum(len(message.model_dump_json()) for message in messages)
    if size > limits.MESSAGES_BYTES:
        raise InvalidInput(
            f"messages have {size} bytes in all: at most {limits.MESSAGES_BYTES} are allowed",
            field="messages",
            reason="TOO_LARGE",
        )
    last = len(messages) - 1
    if messages[last].role is Role.ASSISTANT:
        raise InvalidInput(
            f"messages[{last}].role is ROLE_ASSISTANT: the last message has to be a user's or "
            "a tool's, for the model to answer",
            field=f"messages[{last}].role",
        )


def _check_message(message: Message, field: str) -> None:
    calls = message.tool_calls
    limits.text(
        message.content,
        f"{field}.content",
        max_bytes=limits.INPUT_BYTES,
        required=message.role is Role.USER,
    )
    limits.text(message.name, f"{field}.name", max_bytes=limits.NAME_BYTES)
    limits.text(
        message.tool_call_id,
        f"{field}.tool_call_id",
        max_bytes=limits.NAME_BYTES,
        required=message.role is Role.TOOL,
    )
    limits.count(calls, f"{field}.tool_calls", at_most=limits.TOOL_CALLS)
    if calls and message.role is not Role.ASSISTANT:
        raise InvalidInput(
            f"{field} has tool_calls: only a message of ROLE_ASSISTANT may have them",
            field=f"{field}.tool_calls",
        )
    for i, call in enumerate(calls):
        _check_call(call, f"{field}.tool_calls[{i}]")


def _check_call(call: ToolCall, field: str) -> None:
    limits.text(call.call_id, f"{field}.call_id", max_bytes=limits.NAME_BYTES, required=True)
    limits.text(call.name, f"{field}.name", max_bytes=limits.NAME_BYTES, required=True)
    name = f"{field}.arguments_json"
    limits.text(call.arguments_json, name, max_bytes=limits.ARGUMENTS_BYTES, required=True)
    try:
        arguments = json.loads(call.arguments_json)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}", field=name) from error
    if not isinstance(arguments, dict):
        raise InvalidInput(
            f"{name} is a JSON {type(arguments).__name__}: it has to be an object", field=name
        )
