"""The chat template both models carry, and the reader of the tool calls it writes."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE_PATH = Path(__file__).with_name("chat_template.jinja")

Message = dict[str, Any]
Tool = dict[str, Any]

_TOOL_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _to_json
    return environment


_TEMPLATE = _environment().from_string(TEMPLATE_PATH.read_text(encoding="utf-8"))


def render(
    messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False
) -> str:
    return _TEMPLATE.render(
        messages=list(messages), tools=list(tools), add_generation_prompt=add_generation_prompt
    )


def tool_call(name: str, arguments: Mapping[str, object], *, call_id: str) -> dict[str, Any]:
    """One tool call in OpenAI's shape; the arguments are a JSON string there."""
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": call_id, "type": "function", "function": function}


def parse_tool_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the calls in one assistant turn; malformed ones are left out."""
    calls = []
    for body in _TOOL_CALL.findall(text):
        try:
            call = json.loads(body)
            calls.append((call["name"], call["arguments"]))
        except (ValueError, KeyError, TypeError):
            continue
    return calls
