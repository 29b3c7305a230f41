"""Arguments of the callers' own tools, against schemas that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.domain.agents import AgentSpec, ClientTool
from orchestrator.domain.messages import ToolCall
from orchestrator.execution.outside import answered_outside, what_is_wrong

PATH: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "size": {"multipleOf": 0.5}},
    "required": ["path"],
}


def agent(schema: dict[str, Any]) -> AgentSpec:
    return AgentSpec(client_tools=(ClientTool(name="own", parameters_json=json.dumps(schema)),))


def wrong(arguments: object, schema: dict[str, Any] = PATH) -> str | None:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return what_is_wrong(agent(schema), ToolCall(call_id="c", name="own", arguments_json=written))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"path": 7}, "arguments.path: 7 is not of type 'string'"),
        ({}, "arguments: 'path' is a required property"),
        ([], "arguments: [] is not of type 'object'"),
        ("{", "the arguments are not a JSON object"),
        ('{"path": "a", "path": "b"}', "the arguments name the same property twice"),
        (
            '{"path": "a", "size": 1%s}' % ("0" * 400),
            "the arguments have a number that is too large to be checked",
        ),
        ({"path": "a" * 17_000}, "the arguments have 17012 bytes; at most 16384 are taken"),
    ],
)
def test_what_is_wrong_is_said(arguments: object, why: str) -> None:
    assert wrong(arguments) == why


def test_the_schema_counts_as_it_is_written() -> None:
    assert wrong({"path": "a", "more": 1}) is None
    closed = PATH | {"additionalProperties": False}
    assert "'more' was unexpected" in str(wrong({"path": "a", "more": 1}, closed))
    assert wrong({"any": "thing"}, {"type": "object"}) is None


def test_other_calls_are_not_answered_outside() -> None:
    spec = AgentSpec(tools=("calculator",))
    assert not answered_outside(spec, "calculator")
    assert not answered_outside(spec, "ask_person")
    assert answered_outside(AgentSpec(tools=("ask_person",)), "ask_person")
    assert what_is_wrong(spec, ToolCall(call_id="c", name="calculator", arguments_json="{")) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"path": {"type": "string", "pattern": "(a+)+$"}}},
        {"propertyNames": {"pattern": "^(p|pa)+$"}},
        {"patternProperties": {"(a|aa)+$": {"type": "integer"}}, "additionalProperties": False},
    ],
)
def test_patterns_are_left_to_the_caller(schema: dict[str, Any]) -> None:
    assert wrong({"path": "a" * 60 + "!"}, {"type": "object", **schema}) is None


@pytest.mark.parametrize("name", ["pattern", "properties", "patternProperties", "const", "$defs"])
def test_a_property_may_be_called_what_a_keyword_is_called(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string", "minLength": 2}}}
    assert wrong({name: "ab"}, schema) is None
    assert wrong({name: "a"}, schema) == f"arguments.{name}: 'a' is too short"


def test_a_constant_that_looks_like_a_schema_is_data() -> None:
    schema = {"type": "object", "properties": {"a": {"const": {"pattern": "x"}}}}
    assert wrong({"a": {"pattern": "x"}}, schema) is None
    assert wrong({"a": {}}, schema) is not None


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (
            {},
            {
                "$ref": "#/$defs/d0",
                "$defs": {
                    f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)
                }
                | {"d40": {"type": "object"}},
            },
        ),
        ({}, {"$ref": "#"}),
        ({}, {"$ref": "#/$defs/none"}),
        ({"a": [{}] * 4_000}, {"properties": {"a": {"uniqueItems": True}}}),
    ],
    ids=["doubling", "endless", "dangling", "quadratic"],
)
def test_a_schema_that_can_t_be_checked_is_left_to_the_caller(
    arguments: object, schema: dict[str, Any]
) -> None:
    assert wrong(arguments, {"type": "object", **schema}) is None
