"""References of a JSON Schema, and those that never come to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

REFERENCES = ("$ref", "$dynamicRef")
_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")
_DATA = ("const", "enum", "default", "examples")

Lookup = Callable[[str], Any]
"""Returns the part of the schema that a reference names."""


def references(schema: Mapping[str, Any]) -> Iterator[str]:
    for node in _objects(schema):
        yield from (node[key] for key in REFERENCES if isinstance(node.get(key), str))


def endless_reference(schema: Mapping[str, Any], lookup: Lookup) -> str | None:
    """Returns a reference that leads back to itself without going deeper into the value.

    A tree's `items` may refer to the tree: the value has an end. None: there is no other one.
    """
    ended: set[int] = set()
    for node in _objects(schema):
        found = _search(node, lookup, ended, set())
        if found is not None:
            return found
    return None


def _search(node: Any, lookup: Lookup, ended: set[int], above: set[int]) -> str | None:
    if not isinstance(node, Mapping) or id(node) in ended:
        return None
    above.add(id(node))
    for reference, child in _same_value(node, lookup):
        if id(child) in above:
            return reference
        found = _search(child, lookup, ended, above)
        if found is not None:
            return found or reference
    above.discard(id(node))
    ended.add(id(node))
    return None


def _same_value(node: Mapping[str, Any], lookup: Lookup) -> Iterator[tuple[str, Any]]:
    """The schemas that are applied to the same value, each with the reference to it."""
    for key in REFERENCES:
        if isinstance(node.get(key), str):
            yield node[key], lookup(node[key])
    for key in _LISTS:
        if isinstance(node.get(key), list):
            yield from (("", child) for child in node[key])
    for key in _SINGLE:
        yield "", node.get(key)
    if isinstance(node.get("dependentSchemas"), Mapping):
        yield from (("", child) for child in node["dependentSchemas"].values())


def _objects(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for key, value in node.items():
            if key not in _DATA:
                yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)
