from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.tools import ToolSpec
from orchestrator.execution.arguments import ArgumentReader, BadArguments, BadSchema

TEXT = {"type": "string"}
ADD = {"type": "object", "properties": {"expression": TEXT}, "required": ["expression"]}


def spec(schema: dict[str, Any]) -> ToolSpec:
    return ToolSpec(ToolSchema("odd", "Odd.", schema))


def read(arguments: object, schema: dict[str, Any] = ADD) -> Any:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return json.loads(ArgumentReader().read(spec(schema), written))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "not a JSON object"),
        ("{", "not a JSON object"),
        ("[" * 9_000, "not a JSON object"),
        ('{"expression": NaN}', "not a JSON object"),
        ('{"expression": 1e999}', "not a JSON object"),
        ('{"expression": "\\ud800"}', "not a JSON object"),
        ('{"expression": "1", "expression": "2"}', "the same property twice"),
        ('{"expression": "' + "1" * 20_000 + '"}', "at most 16384"),
        ("[1]", "not of type 'object'"),
        ("null", "not of type 'object'"),
        ({}, "'expression' is a required property"),
        ({"expression": 7}, "arguments.expression: 7 is not of type 'string'"),
        ({"expression": "1", "precision": 3}, "'precision' was unexpected"),
    ],
)
def test_wrong_arguments_are_refused_with_the_fields_name(arguments: object, why: str) -> None:
    with pytest.raises(BadArguments, match=why):
        read(arguments)


def test_a_number_too_large_to_be_divided_is_refused() -> None:
    schema = {"type": "object", "properties": {"size": {"multipleOf": 0.5}}}
    with pytest.raises(BadArguments, match="a number that is too large"):
        read('{"size": 1%s}' % ("0" * 400), schema)


def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    with pytest.raises(BadArguments) as refused:
        read({"expression": ["x" * 9_000]})
    assert len(str(refused.value)) < 1_000
    assert "arguments.expression" in str(refused.value)


NESTED = {
    "type": "object",
    "$defs": {"Place": {"type": "object", "properties": {"city": TEXT}}},
    "properties": {
        "inner": {"type": "object", "properties": {"a": TEXT}},
        "many": {"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}},
        "place": {"$ref": "#/$defs/Place"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
        "free": {"type": "object"},
        "open": {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
    },
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"inner": {"b": "1"}},
        {"many": [{"a": "1"}, {"b": "1"}]},
        {"place": {"city": "Rome", "zip": "1"}},
        {"maybe": {"zip": "1"}},
        {"open": {"b": 1}},
        {"other": 1},
    ],
)
def test_properties_without_a_name_in_the_schema_are_refused_at_any_depth(
    arguments: dict[str, Any],
) -> None:
    with pytest.raises(BadArguments):
        read(arguments, NESTED)


def test_what_the_schema_names_or_leaves_open_itself_is_taken() -> None:
    arguments = {
        "inner": {"a": "1"},
        "many": [{"a": "1"}],
        "place": {"city": "Rome"},
        "maybe": None,
        "free": {"x": [1]},
        "open": {"a": "1", "b": "2"},
    }
    assert read(arguments, NESTED) == arguments


def test_properties_of_joined_schemas_are_known() -> None:
    schema = {
        "type": "object",
        "allOf": [
            {"properties": {"a": {"type": "object", "properties": {"x": TEXT}}}},
            {"properties": {"a": {"type": "object", "properties": {"y": TEXT}}}},
        ],
    }
    assert read({"a": {"x": "1", "y": "2"}}, schema)
    with pytest.raises(BadArguments):
        read({"b": 1}, schema)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array"}, 'must have "type": "object", not \'array\''),
        ({}, 'must have "type": "object"'),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "schema.properties.a"),
        ({"type": "object", "properties": {"a": {"$ref": "https://evil.example/s"}}}, "inside it"),
        ({"type": "object", "properties": {"a": {"$ref": "other.json#/x"}}}, "inside it"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/None"}}}, "has nothing at"),
        ({"type": "object", "properties": {"a": {"pattern": "a{9999999999}"}}}, "too large"),
        ({"type": "object", "$ref": "#"}, "refers to itself without end"),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/a"}},
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}},
            },
            "refers to itself without end at '#/$defs/",
        ),
        (
            {"type": "object", "properties": {"a": {"not": {"$ref": "#/properties/a"}}}},
            "without end",
        ),
        ({"type": "object", "description": "x" * 70_000}, "at most 65536"),
        ({"type": "object", "const": {1, 2}}, "has no JSON form"),
    ],
)
def test_a_schema_that_can_not_be_used_is_refused_when_loaded(
    schema: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadSchema) as refused:
        ArgumentReader().check({"odd": spec(schema)})
    assert "'odd'" in str(refused.value)
    assert why in str(refused.value)


TREE = {
    "type": "object",
    "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "properties": {"tree": {"$ref": "#/$defs/tree"}},
}


def test_a_schema_may_refer_to_itself_within_the_value() -> None:
    assert read({"tree": [[], [[]]]}, TREE) == {"tree": [[], [[]]]}
    with pytest.raises(BadArguments, match=r"arguments\.tree\.0\.0: 1 is not of type 'array'"):
        read({"tree": [[1]]}, TREE)


def test_arguments_too_deep_for_the_schema_are_refused() -> None:
    with pytest.raises(BadArguments, match="nested too deep"):
        read('{"tree": ' + "[" * 400 + "]" * 400 + "}", TREE)


def test_a_pattern_that_takes_for_ever_refuses_the_arguments_in_time() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    assert read({"a": "aaa"}, schema) == {"a": "aaa"}
    with pytest.raises(BadArguments, match=r"more than 0\.5 s"):
        read({"a": "a" * 60 + "b"}, schema)


READER, NESTED_SPEC = ArgumentReader(), spec(NESTED)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.text() | JSON.map(json.dumps))
def test_anything_is_read_or_refused(written: str) -> None:
    try:
        taken = READER.read(NESTED_SPEC, written)
    except BadArguments:
        return
    assert isinstance(json.loads(taken), dict)
    assert json.loads(taken) == json.loads(written)
