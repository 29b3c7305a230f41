"""What a session consists of."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.domain.base import Value


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(Value):
    """A model's wish to call a tool. `arguments_json` is a JSON object, as the model wrote it."""

    call_id: str
    name: str
    arguments_json: str


class Message(Value):
    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    run_id: str = ""
