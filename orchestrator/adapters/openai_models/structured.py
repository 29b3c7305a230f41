"""Holding a model to a JSON Schema, as OpenAI's API takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAME = "answer"
# What OpenAI's strict mode knows nothing of; the answer is checked against the whole schema later.
_NOT_STRICT = frozenset({"minLength", "maxLength"})
_STRICT = frozenset(
    (
        *("type", "enum", "const", "anyOf", "properties", "required", "additionalProperties"),
        *("items", "minItems", "maxItems", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum"),
    )
)


def response_format(schema: Mapping[str, Any], *, of_openai: bool) -> dict[str, Any]:
    """OpenAI itself holds a model to a schema in strict mode only, which takes few schemas; what
    it does not take goes without, as advice. Other servers hold it to any schema.
    """
    if not of_openai:
        return _format(schema)
    return (
        _format(_stripped(schema), strict=True) if _fits(schema) else _format(schema, strict=False)
    )


def _format(schema: Mapping[str, Any], **strict: bool) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": _NAME, "schema": dict(schema), **strict},
    }


def _fits(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" and _strict(schema)


def _strict(node: Any) -> bool:
    """Every object names all its members and requires them, and nothing is left open."""
    if not isinstance(node, Mapping) or not node or node.keys() - _STRICT - _NOT_STRICT:
        return False
    if "anyOf" in node:
        return all(map(_strict, node["anyOf"]))
    if "enum" in node or "const" in node:
        return True
    kinds = node["type"]
    if "array" in kinds and not _strict(node.get("items")):
        return False
    if "object" not in kinds:
        return True
    properties = node.get("properties", {})
    return (
        node.get("additionalProperties") is False
        and set(node.get("required", ())) == set(properties)
        and all(map(_strict, properties.values()))
    )


def _stripped(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    kept = {name: value for name, value in node.items() if name not in _NOT_STRICT}
    if "anyOf" in kept:
        kept["anyOf"] = [_stripped(option) for option in kept["anyOf"]]
    if "items" in kept:
        kept["items"] = _stripped(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _stripped(inner) for name, inner in kept["properties"].items()}
    return kept
