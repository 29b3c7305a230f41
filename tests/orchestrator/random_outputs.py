"""Output schemas and prompts drawn from a seed: of all kinds that can be compiled."""

from __future__ import annotations

import random
import string
from typing import Any

_NAMES = ("id", "name", "total", "tags", "status", "is open", "größe", 'q"uote', "x", "reply_text")
_WORDS = (
    "order",
    "A1042",
    "what",
    "is",
    "437",
    "*",
    "12?",
    "please",
    "ünï",
    "\u65e5\u672c",
    "{",
    '"',
)


def random_schema(draw: random.Random) -> dict[str, Any]:
    schema = _object(draw, depth=0)
    if draw.random() < 0.3:
        schema["$defs"] = {"leaf": _leaf(draw)}
        schema["properties"]["leaf"] = {"$ref": "#/$defs/leaf"}
    return schema


def random_prompt(draw: random.Random) -> str:
    noise = "".join(draw.choices(string.printable, k=draw.randint(0, 20)))
    return " ".join(draw.choices(_WORDS, k=draw.randint(1, 12))) + noise


def _object(draw: random.Random, depth: int) -> dict[str, Any]:
    names = draw.sample(_NAMES, draw.randint(1, 3 - depth))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _any(draw, depth + 1) for name in names},
        "required": [name for name in names if draw.random() < 0.7],
    }
    if draw.random() < 0.2:
        schema["additionalProperties"] = False
    return schema


def _any(draw: random.Random, depth: int) -> dict[str, Any]:
    kinds = [_leaf, _leaf, _leaf]
    if depth < 2:
        kinds += [_array, lambda draw: _object(draw, depth), _either]
    return draw.choice(kinds)(draw)


def _array(draw: random.Random) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": _leaf(draw)}
    if draw.random() < 0.5:
        schema |= {"minItems": 1, "maxItems": draw.randint(1, 3)}
    return schema


def _either(draw: random.Random) -> dict[str, Any]:
    return {draw.choice(("anyOf", "oneOf")): [{"type": "null"}, _string(draw)]}


def _leaf(draw: random.Random) -> dict[str, Any]:
    return draw.choice((_string, _string, _integer, _number, _fixed))(draw)


def _string(draw: random.Random) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if draw.random() < 0.5:
        schema |= {"minLength": draw.randint(0, 3), "maxLength": draw.randint(3, 200)}
    return schema


def _integer(draw: random.Random) -> dict[str, Any]:
    low = draw.randint(-(10**6), 10**6)
    bounds = {"minimum": low, "exclusiveMaximum": low + draw.randint(1, 10**6)}
    return {"type": "integer"} | draw.choice((bounds, {}, {"minimum": low}))


def _number(draw: random.Random) -> dict[str, Any]:
    return {"type": draw.choice(("number", ["number", "null"]))}


def _fixed(draw: random.Random) -> dict[str, Any]:
    return draw.choice(
        (
            {"type": "boolean"},
            {"enum": ["open", "closed", None, 3, "é"]},
            {"const": {"version": 1}},
            {"type": ["boolean", "null"]},
        )
    )
