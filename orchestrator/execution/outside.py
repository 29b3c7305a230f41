"""Calls that somebody outside answers: the caller its own tools', a person `ask_person`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.delegation import ASK_PERSON
from orchestrator.domain.messages import ToolCall
from orchestrator.execution.arguments import BadArguments, parsed, why_wrong

MAX_CHECKS = 5_000
"""A schema of a caller's may be one that takes for ever: after so many keywords it is let be."""

MAX_DEPTH = 64
"""Keywords inside keywords, well before the interpreter's own limit is reached."""

MAX_UNIQUE_ITEMS = 128

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
    if schema is None:
        return None
    try:
        wrong = _errors(schema, parsed(call.arguments_json))
    except BadArguments as bad:
        return str(bad)
    except (_TooMuch, RecursionError, Unresolvable):
        return None
    return why_wrong(wrong) if wrong else None


def _schema(spec: AgentSpec, name: str) -> Mapping[str, Any] | None:
    if name == ASK_PERSON.name and name in spec.tools:
        return ASK_PERSON.parameters
    own = (tool.parameters_json for tool in spec.client_tools if tool.name == name)
    return next(map(json.loads, own), None)


def _errors(schema: Mapping[str, Any], arguments: Any) -> list[ValidationError]:
    _spent.set(_Spent())
    return list(_Bounded(_unpatterned(schema), registry=Registry()).iter_errors(arguments))


class _TooMuch(Exception):
    pass


@dataclass(slots=True)
class _Spent:
    checks: int = 0
    depth: int = 0


_spent: ContextVar[_Spent] = ContextVar("spent")


def _bounded(check: Any) -> Any:
    def counted(
        validator: Validator, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        spent = _spent.get()
        spent.checks += 1
        if spent.checks > MAX_CHECKS or spent.depth >= MAX_DEPTH:
            raise _TooMuch
        spent.depth += 1
        try:
            yield from check(validator, value, instance, schema) or ()
        finally:
            spent.depth -= 1

    return counted


def _unique(
    validator: Validator, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, list) and len(instance) > MAX_UNIQUE_ITEMS:
        raise _TooMuch  # its time grows with their square
    yield from Draft202012Validator.VALIDATORS["uniqueItems"](validator, value, instance, schema)


_CHECKS = {**Draft202012Validator.VALIDATORS, "uniqueItems": _unique}
_Bounded = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _bounded(check) for name, check in _CHECKS.items()}
)


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
