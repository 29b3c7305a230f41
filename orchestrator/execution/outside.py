"""Calls that somebody outside answers: the caller its own tools', a person `ask_person`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from referencing.exceptions import Unresolvable

from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.delegation import ASK_PERSON
from orchestrator.domain.messages import ToolCall
from orchestrator.execution.arguments import TOO_LARGE_NUMBER, BadArguments, parsed, why_wrong
from orchestrator.execution.bounded_check import TooMuch, errors

MAX_CHECKS = 5_000
"""A schema of a caller's may be one that takes for ever: after so many keywords it is let be."""

_NAMED = ("properties", "$defs", "definitions", "dependentSchemas")
_DATA = ("const", "enum", "default", "examples")


def answered_outside(spec: AgentSpec, name: str) -> bool:
    return _schema(spec, name) is not None


def what_is_wrong(spec: AgentSpec, call: ToolCall) -> str | None:
    """Says why the arguments do not fit the tool's schema, for the model; None: ask.

    The schema counts as it is written, but for its patterns: Python's can take for ever, so
    they are left to the caller.
    """
    schema = _schema(spec, call.name)
    return None if schema is None else unfit(schema, call)


def unfit(schema: Mapping[str, Any], call: ToolCall) -> str | None:
    """Says why the arguments do not fit such a schema, as `what_is_wrong`."""
    try:
        wrong = errors(_unpatterned(schema), parsed(call.arguments_json), most_checks=MAX_CHECKS)
    except BadArguments as bad:
        return str(bad)
    except OverflowError:
        return TOO_LARGE_NUMBER
    except (TooMuch, RecursionError, Unresolvable):
        return None
    return why_wrong(wrong) if wrong else None


def _schema(spec: AgentSpec, name: str) -> Mapping[str, Any] | None:
    if name == ASK_PERSON.name and name in spec.tools:
        return ASK_PERSON.parameters
    own = (tool.parameters_json for tool in spec.client_tools if tool.name == name)
    return next(map(json.loads, own), None)


def _unpatterned(node: Any, *, names: bool = False) -> Any:
    """The schema without patterns; `names`: the node's keys are names and no keywords."""
    if isinstance(node, list):
        return [_unpatterned(part) for part in node]
    if not isinstance(node, Mapping):
        return node
    kept = {
        key: value
        if key in _DATA and not names
        else _unpatterned(value, names=not names and key in _NAMED)
        for key, value in node.items()
        if names or key not in ("pattern", "patternProperties")
    }
    if not names and "patternProperties" in node:
        kept["additionalProperties"] = True  # some of the others' names fit the patterns
    return kept
