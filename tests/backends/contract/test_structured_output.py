"""Answers that keep to a schema, a choice or a regular expression."""

import json
import re
from typing import Any

import jsonschema
import pytest

from tests.backends.contract.prompts import PROMPT
from tests.backends.llm_client import ALL_OUTPUTS, LlmClient

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": -20, "maximum": 130}}},
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 5},
            "kind": {"enum": ["x", 'quo"te', 3, None]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
            "id": {"type": "string", "pattern": "^[A-F0-9]{4}-[a-z]{1,4}x$"},
        },
        "required": ["name", "kind"],
    },
    {
        "$defs": {"leaf": {"type": ["null", "integer"]}},
        "type": "array",
        "prefixItems": [{"$ref": "#/$defs/leaf"}, {"anyOf": [{"const": "é\n"}, {"type": "null"}]}],
        "items": False,
    },
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"enum": ["größe", "é1", "\x7fa", "日本b"]},
    {"type": "string", "pattern": "^é[äa0]{6}ßa$"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
async def test_an_answer_keeps_to_its_json_schema(llm: LlmClient, schema: dict[str, Any]) -> None:
    finished = 0
    for seed in range(6):
        sampling = {
            "structured_outputs": {"json": schema},
            "temperature": 1.5,
            "seed": seed,
            "max_tokens": 400,
        }
        heard = await llm.ask(PROMPT, sampling, exclude_input_in_output=True, **ALL_OUTPUTS)
        assert not heard.error
        if heard.reason == "stop":
            finished += 1
            jsonschema.validate(json.loads(heard.text), schema)
    assert finished >= 4


async def test_an_answer_is_one_of_the_choices(llm: LlmClient) -> None:
    choices = ["yes", "no", 'say "no\n"\\']
    heard = [
        await llm.ask(
            PROMPT,
            {"guided_choice": choices, "seed": seed, "max_tokens": 100},
            exclude_input_in_output=True,
        )
        for seed in range(8)
    ]
    assert {one.text for one in heard} <= set(choices)


async def test_an_answer_matches_its_regex(llm: LlmClient) -> None:
    pattern = r'(ab|[0-9]{2,3}-)+\.x?"[^a-z\]]{2}\t'
    heard = [
        await llm.ask(
            PROMPT,
            {"guided_regex": pattern, "seed": seed, "max_tokens": 200},
            exclude_input_in_output=True,
            return_finish_reason=True,
        )
        for seed in range(5)
    ]
    finished = [one.text for one in heard if one.reason == "stop"]
    assert finished
    assert all(re.fullmatch(pattern, text) for text in finished)
