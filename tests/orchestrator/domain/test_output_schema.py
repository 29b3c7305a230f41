from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

from orchestrator.domain.output_schema import (
    MAX_NODES,
    BadOutputSchema,
    OutputShape,
    held_to,
    written_out,
)
from tests.orchestrator.random_outputs import random_schema

OBJECT: dict[str, Any] = {"type": "object"}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def doubling(levels: int) -> dict[str, Any]:
    """Small as it is written, huge written out."""
    defs: dict[str, Any] = {"d0": {"type": "null"}}
    for level in range(levels):
        one = {"$ref": f"#/$defs/d{level}"}
        defs[f"d{level + 1}"] = {"anyOf": [one, one]}
    return {"$ref": f"#/$defs/d{levels}", "$defs": defs}


def chained(links: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(links)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{links}": {"type": "null"}}}


@pytest.mark.parametrize(
    ("schema", "at", "why"),
    [
        ({"properties": {}}, "schema", 'needs a "type"'),
        ({**OBJECT, "patternProperties": {}}, "schema", "'patternProperties' of 'object'"),
        (
            {**OBJECT, "properties": {"a": {"type": "string", "pattern": "x"}}},
            "schema.properties.a",
            "'pattern' of 'string' can't be compiled; these can: maxLength, minLength",
        ),
        ({**OBJECT, "required": ["a"]}, "schema", "'a' is required but not among"),
        ({"not": {}}, "schema", "needs a"),
        ({"anyOf": [{}], "minLength": 1}, "schema", "'minLength' beside 'anyOf'"),
        ({"allOf": [{}, {}]}, "schema", "merge them"),
        ({"enum": [1], "minimum": 2}, "schema", "'minimum' beside 'enum'"),
        ({"$ref": "other.json"}, "schema", "into the schema itself"),
        ({"$ref": "#/$defs/a", "$defs": {}}, "schema", "nothing at '#/$defs/a'"),
        ({"anyOf": [{"$ref": "#"}]}, "schema.anyOf[0]", "contains itself"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}},
            },
            "schema.items",
            "contains itself",
        ),
        ({"$ref": "#a", "$defs": {}}, "schema", "into the schema itself"),
        ({"$ref": "#/default", "default": {"type": "odd"}}, "schema", "leads to no schema"),
        ({"$ref": "#/$defs/a/const", "$defs": {"a": {"const": {}}}}, "schema", "leads to no"),
        ({"$ref": "#/$defs", "$defs": {"type": {}}}, "schema", "nothing at '#/$defs'"),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a~1b": {}, "a/b": {}}}, "schema", "~ or %"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "urn:a"}}}, "schema", "changes what"),
        ({"anyOf": [{"$id": "urn:a", "type": "null"}]}, "schema.anyOf[0]", "changes what"),
        (chained(17), "schema", "more than 16 references"),
        ({"enum": []}, "schema", "enum is empty"),
        ({"type": "integer", "minimum": 0.5}, "schema", "minimum of an integer"),
        ({"type": "integer", "minimum": 3, "exclusiveMaximum": 3}, "schema", "from 3 to 2"),
        ({"type": "integer", "minimum": 10**30}, "schema", "no integer"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "schema", "above maxLength 2"),
        ({"type": "string", "minLength": 100_000}, "schema", "at most 256"),
        ({"type": "array", "prefixItems": [{}], "items": {}}, "schema", "set items to false"),
        ({"type": "array", "items": False}, "schema.items", "has to be an object"),
        (deep(20), "schema" + ".items" * 17, "nested deeper than 16"),
        (doubling(14), "schema", f"more than {MAX_NODES} parts"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_its_place(
    schema: dict[str, Any], at: str, why: str
) -> None:
    with pytest.raises(BadOutputSchema) as refused:
        written_out(schema)
    assert refused.value.at.startswith(at)
    assert why in refused.value.why


def test_a_schema_may_be_named_itself_and_refer_to_its_own_parts() -> None:
    text = {"type": "string"}
    nested = {"type": "object", "properties": {"b": text}}
    schema = {
        "$id": "urn:order",
        "type": "object",
        "properties": {
            "properties": nested,
            "c": {"$ref": "#/properties/properties/properties/b"},
            "d": {"$ref": "#/$defs/$defs"},
        },
        "$defs": {"$defs": text},
    }
    written = written_out(schema)["properties"]
    assert (written["c"], written["d"]) == (text, text)


def test_references_are_written_out_and_what_only_says_something_is_left_out() -> None:
    schema = {
        "title": "Order",
        "$defs": {"id": {"type": "string", "description": "Its key."}},
        **OBJECT,
        "properties": {"id": {"$ref": "#/$defs/id"}, "old": {"$ref": "#/$defs/id"}},
    }
    string = {"type": "string"}
    assert written_out(schema)["properties"] == {"id": string, "old": string}
    assert "title" not in written_out(schema)


def test_what_only_a_check_can_see_is_not_told_to_the_engine() -> None:
    schema = {
        "type": "array",
        "items": {"type": "number", "minimum": 0, "multipleOf": 0.5},
        "uniqueItems": True,
    }
    assert written_out(schema) == {"type": "array", "items": {"type": "number"}}


def test_an_open_schema_stays_open_and_no_bound_goes_beyond_the_room() -> None:
    schema = {
        **OBJECT,
        "properties": {"a": {"type": "string"}, "b": {"type": "string", "maxLength": 10**9}},
    }
    told = held_to(OutputShape(schema), tokens=100)["properties"]
    assert told == {"a": {"type": "string"}, "b": {"type": "string", "maxLength": 400}}


@pytest.mark.parametrize("seed", range(50))
def test_the_longest_brief_answer_fits_and_is_valid(seed: int) -> None:
    schema = random_schema(random.Random(seed))
    told = held_to(OutputShape(schema, brief=True), tokens=200)
    answer = json.dumps(longest(told), ensure_ascii=False)
    jsonschema.validate(json.loads(answer), schema)
    assert len(answer) <= 200


def test_a_brief_answer_gets_as_much_text_as_there_is_room_for() -> None:
    schema = {**OBJECT, "properties": {"said": {"type": "string"}}}
    lengths = [
        held_to(OutputShape(schema, brief=True), tokens=tokens)["properties"]["said"]["maxLength"]
        for tokens in (20, 100, 1000)
    ]
    assert lengths == [1, 16, 128]


def longest(schema: dict[str, Any]) -> Any:
    if "anyOf" in schema:
        return max((longest(option) for option in schema["anyOf"]), key=lambda v: len(str(v)))
    if "const" in schema or "enum" in schema:
        return max(schema.get("enum", [schema.get("const")]), key=lambda v: len(str(v)))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    match kinds[0]:
        case "string":
            return "x" * schema["maxLength"]
        case "array":
            return [longest(schema["items"])] * schema["maxItems"]
        case "object":
            return {name: longest(inner) for name, inner in schema["properties"].items()}
        case "integer":
            return schema.get("minimum", -(10**8))
        case "number":
            return -1.5
        case kind:
            return {"boolean": False, "null": None}[kind]
