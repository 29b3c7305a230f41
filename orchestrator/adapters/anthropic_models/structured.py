"""Holding a model to a JSON Schema, as Anthropic's API takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anthropic import transform_schema


def output_format(schema: Mapping[str, Any], *, of_anthropic: bool) -> dict[str, Any] | None:
    """None where it can't be held to this one.

    Anthropic itself takes closed objects and few bounds: the SDK writes the others into
    descriptions. Other servers take any schema.
    """
    try:
        taken = transform_schema(dict(schema)) if of_anthropic else dict(schema)
    except (ValueError, TypeError, AssertionError):
        return None
    return {"type": "json_schema", "schema": taken}


def instruction(schema: Mapping[str, Any]) -> str:
    told = json.dumps(dict(schema), ensure_ascii=False)
    return f"Answer with one JSON value and nothing else. It has to fit this JSON Schema:\n{told}"
