import json
from typing import Any

from .errors import PromptError


def parse_messages(raw: str) -> list[dict[str, Any]]:
    """MESSAGES to what a chat template expects: text content, tool arguments as objects."""
    messages = _objects("MESSAGES", raw)
    if not messages:
        raise PromptError("MESSAGES is an empty list; a prompt needs at least one message")
    for index, message in enumerate(messages):
        place = f"MESSAGES[{index}]"
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise PromptError(f'{place}.role must be a string such as "user", found {_kind(role)}')
        message["content"] = _text(place, message.get("content"))
        if message["content"] is None and not message.get("tool_calls"):
            raise PromptError(f"{place} has neither content nor tool_calls")
        if "tool_calls" in message:
            message["tool_calls"] = _tool_calls(place, message["tool_calls"])
    return messages


def parse_tools(raw: str) -> list[dict[str, Any]]:
    tools = _objects("TOOLS", raw)
    for index, tool in enumerate(tools):
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise PromptError(
                f'TOOLS[{index}] must be {{"type": "function", "function": {{"name": …}}}}'
            )
    return tools


def _objects(name: str, raw: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise PromptError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise PromptError(f"{name} is nested too deeply") from None
    if not isinstance(value, list):
        raise PromptError(f"{name} must be a JSON list, found {_kind(value)}")
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise PromptError(f"{name}[{index}] must be an object, found {_kind(entry)}")
    return value


def _text(place: str, content: object) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise PromptError(f"{place}.content must be text, found {_kind(content)}")
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise PromptError(f'{place}.content may only have parts {{"type": "text", "text": …}}')
        texts.append(part["text"])
    return "\n".join(texts)


def _tool_calls(place: str, calls: object) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise PromptError(f"{place}.tool_calls must be a list, found {_kind(calls)}")
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise PromptError(
                f'{place}.tool_calls[{index}] must be {{"function": {{"name": …, "arguments": …}}}}'
            )
        function["arguments"] = _arguments(f"{place}.tool_calls[{index}]", function)
    return calls


def _arguments(place: str, function: dict[str, Any]) -> object:
    """OpenAI's wire format has the arguments as a string of JSON; templates want the object."""
    arguments = function.get("arguments", {})
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError as error:
        raise PromptError(f"{place}.function.arguments is not JSON: {error}") from None


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
