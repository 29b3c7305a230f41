"""Tools that are not run but asked of somebody: a person, another agent, the next agent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.chat import ToolSchema

ASK_PERSON = ToolSchema(
    name="ask_person",
    description="Ask the person you work for a question and wait for the reply.",
    parameters={
        "type": "object",
        "properties": {"question": {"type": "string"}},
        "required": ["question"],
    },
)

_MAX_NAME = 64


def ask_tools(references: Sequence[str]) -> Mapping[str, str]:
    """Returns, by tool name, the agents that may be started as tools."""
    return _named("ask_", references)


def handover_tools(references: Sequence[str]) -> Mapping[str, str]:
    """Returns, by tool name, the agents that may be given the session."""
    return _named("hand_over_to_", references)


def ask_schema(name: str, reference: str, description: str) -> ToolSchema:
    said = f"Give the agent {reference} a task and wait for its answer. {description}".strip()
    return _schema(name, said, "input", "The whole task: the agent sees nothing else.")


def handover_schema(name: str, reference: str, description: str) -> ToolSchema:
    said = f"Let the agent {reference} go on with this conversation. {description}".strip()
    return _schema(name, said, "reason", "Why.")


def text_argument(arguments_json: str, name: str) -> str:
    """Returns the text of the only argument `name`.

    Raises:
        ValueError: the arguments are anything else; the message is for the model.
    """
    try:
        arguments = json.loads(arguments_json)
    except (ValueError, RecursionError):
        arguments = None
    fits = isinstance(arguments, dict) and set(arguments) == {name}
    text = arguments[name] if fits else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'the arguments must be {{"{name}": "some text"}}')
    return text


def _schema(name: str, description: str, argument: str, meaning: str) -> ToolSchema:
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {argument: {"type": "string", "description": meaning}},
        "required": [argument],
    }
    return ToolSchema(name=name, description=description, parameters=parameters)


def _named(prefix: str, references: Sequence[str]) -> dict[str, str]:
    """Gives each agent a name that models can write; equal ones are numbered in order."""
    named: dict[str, str] = {}
    for reference in references:
        plain = name = (prefix + re.sub(r"[^a-z0-9_]", "_", reference))[:_MAX_NAME]
        number = 2
        while name in named:
            name = f"{plain[: _MAX_NAME - 4]}_{number}"
            number += 1
        named[name] = reference
    return named
