"""What the schema of an agent's answer may say, and what of it a model's engine is told.

The answer is checked against the schema as it was written, in the end. An engine that holds a
model to a schema is given less: references written out, what no grammar can count left out
(bounds of numbers, `uniqueItems`, …), and no bound that goes beyond what there is room for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 16
MAX_NODES = 500
MAX_LEAST = 256
"""The most that minLength and minItems may ask for."""

_SAID_ONLY = frozenset(
    (
        *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description"),
        *("default", "examples", "deprecated", "readOnly", "writeOnly", "format"),
    )
)
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_COMPILED: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "integer": _BOUNDS,
    "number": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
_CHECKED: Mapping[str, frozenset[str]] = {
    "object": frozenset({"minProperties", "maxProperties"}),
    "array": frozenset({"uniqueItems"}),
    "integer": frozenset({"multipleOf"}),
    "number": _BOUNDS | {"multipleOf"},
}
_NAMED = frozenset({"$defs", "definitions", "properties"})
_INNER = frozenset({"items", "additionalProperties"})
_JOINS = ("anyOf", "oneOf", "allOf")


class BadOutputSchema(Exception):
    """`at` is the place in the schema, `why` what is wrong there and what would be right."""

    def __init__(self, at: str, why: str) -> None:
        super().__init__(f"at {at}: {why}")
        self.at = at
        self.why = why


@dataclass(frozen=True, slots=True)
class OutputShape:
    """What an answer has to be. `brief`: so short that it surely fits, at the cost of text."""

    schema: Mapping[str, Any]
    brief: bool = False


def written_out(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part that an engine can be held to, without references.

    Raises:
        BadOutputSchema: something in it can't be made part of a grammar.
    """
    return _Writer(schema).write(schema, "schema", ())


class _Writer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def write(self, node: Any, at: str, within: tuple[str, ...], depth: int = 0) -> dict[str, Any]:
        """`within` are the references that led here."""
        if node is True:
            node = {}
        if not isinstance(node, Mapping):
            raise BadOutputSchema(at, 'a schema has to be an object, such as {"type": "string"}')
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise BadOutputSchema(
                at, f"the schema has more than {MAX_NODES} parts, its references written out"
            )
        if depth > MAX_DEPTH:
            raise BadOutputSchema(at, f"it is nested deeper than {MAX_DEPTH}")
        if depth:
            _check_id(node, at)
        if "$ref" in node:
            return self._referred(node, at, within, depth)
        for name in ("enum", "const"):
            if name in node:
                _only(node, at, {name, "type"})
                if node.get("enum") == []:
                    raise BadOutputSchema(at, "enum is empty: no answer would fit")
                return {name: node[name]}
        for name in _JOINS:
            if name in node:
                return self._joined(name, node, at, within, depth)
        return self._typed(node, at, within, depth)

    def _referred(
        self, node: Mapping[str, Any], at: str, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        _only(node, at, {"$ref"})
        reference = node["$ref"]
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise BadOutputSchema(at, "$ref has to point into the schema itself: '#/$defs/…'")
        if "~" in reference or "%" in reference:
            raise BadOutputSchema(at, f"a name in {reference[:80]!r} has a ~ or %: rename it")
        if reference in (*within, "#"):
            raise BadOutputSchema(
                at, f"{reference[:80]!r} contains itself, without end: write its levels out"
            )
        if len(within) >= MAX_DEPTH:
            raise BadOutputSchema(at, f"more than {MAX_DEPTH} references lead to it")
        return self.write(self._target(reference, at), at, (*within, reference), depth)

    def _target(self, reference: str, at: str) -> Any:
        """What stands where no schema does was not checked to be one."""
        target: Any = self._root
        named = False
        for part in reference.removeprefix("#/").split("/"):
            if not named and part not in _NAMED | _INNER:
                raise BadOutputSchema(
                    at, f"{reference[:80]!r} leads to no schema; '#/$defs/…' or '#/properties/…' do"
                )
            named = not named and part in _NAMED
            target = target.get(part) if isinstance(target, Mapping) else None
            if not named:
                _check_id(target, at)
        if named or target is None:
            raise BadOutputSchema(at, f"there is nothing at {reference[:80]!r}")
        return target

    def _joined(
        self, name: str, node: Mapping[str, Any], at: str, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        _only(node, at, {name})
        options = node[name]
        if name == "allOf" and len(options) > 1:
            raise BadOutputSchema(at, "allOf of several schemas can't be compiled: merge them")
        written = [
            self.write(option, f"{at}.{name}[{i}]", within, depth + 1)
            for i, option in enumerate(options)
        ]
        return written[0] if name == "allOf" else {"anyOf": written}

    def _typed(
        self, node: Mapping[str, Any], at: str, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        if not node.keys() - _SAID_ONLY:
            return {}
        kinds = node.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if not kinds:
            raise BadOutputSchema(at, f'it needs a "type": {", ".join(_COMPILED)}')
        taken = frozenset().union(
            *(_COMPILED[kind] | _CHECKED.get(kind, frozenset()) for kind in kinds)
        )
        _only(node, at, taken | {"type"})
        kept = {
            name: node[name]
            for name in frozenset().union(*(_COMPILED[kind] for kind in kinds)) & node.keys()
        }
        _check_least(kept, at)
        if "integer" in kinds:
            _check_integers(kept, at)
        shape: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds, **kept}
        if "object" in kinds:
            shape |= self._object(node, at, within, depth)
        if "array" in kinds:
            shape |= self._array(node, at, within, depth)
        return shape

    def _object(
        self, node: Mapping[str, Any], at: str, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        properties = node.get("properties", {})
        unnamed = [name for name in node.get("required", ()) if name not in properties]
        if unnamed:
            raise BadOutputSchema(
                at, f"{unnamed[0][:80]!r} is required but not among the properties: describe it"
            )
        written = {
            name: self.write(inner, f"{at}.properties.{name[:80]}", within, depth + 1)
            for name, inner in properties.items()
        }
        more = node.get("additionalProperties", not properties)
        if more not in (True, False):
            more = self.write(more, f"{at}.additionalProperties", within, depth + 1)
        return {"properties": written, "additionalProperties": more}

    def _array(
        self, node: Mapping[str, Any], at: str, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        if "prefixItems" not in node:
            return {"items": self.write(node.get("items", True), f"{at}.items", within, depth + 1)}
        if node.get("items", False) is not False or node.keys() & {"minItems", "maxItems"}:
            raise BadOutputSchema(
                at, "prefixItems describes a list of exactly these: set items to false, no bounds"
            )
        written = [
            self.write(inner, f"{at}.prefixItems[{i}]", within, depth + 1)
            for i, inner in enumerate(node["prefixItems"])
        ]
        return {"prefixItems": written, "items": False}


def _only(node: Mapping[str, Any], at: str, taken: frozenset[str] | set[str]) -> None:
    unknown = sorted(node.keys() - _SAID_ONLY - taken)
    if not unknown:
        return
    beside = next((name for name in ("$ref", "enum", "const", *_JOINS) if name in node), "")
    if beside:
        raise BadOutputSchema(
            at, f"{unknown[0][:80]!r} beside {beside!r} can't be compiled: say it inside"
        )
    kinds = node.get("type")
    raise BadOutputSchema(
        at,
        f"{unknown[0][:80]!r} of {kinds!r} can't be compiled; "
        f"these can: {', '.join(sorted(taken - {'type'})) or 'none'}",
    )


def _check_id(node: Any, at: str) -> None:
    if isinstance(node, Mapping) and "$id" in node:
        raise BadOutputSchema(at, "$id inside of a schema changes what '#/…' means: leave it out")


def _check_least(node: Mapping[str, Any], at: str) -> None:
    for name, other in (("minLength", "maxLength"), ("minItems", "maxItems")):
        least = node.get(name, 0)
        for one in (name, other):
            if not isinstance(node.get(one, 0), int):
                raise BadOutputSchema(at, f"{one} has to be an integer, not {node[one]!r}")
        if least > MAX_LEAST:
            raise BadOutputSchema(at, f"{name} is {least}: at most {MAX_LEAST} can be compiled")
        if least > node.get(other, least):
            raise BadOutputSchema(at, f"{name} {least} is above {other} {node[other]}")


def _check_integers(node: Mapping[str, Any], at: str) -> None:
    for name in _BOUNDS & node.keys():
        if not isinstance(node[name], int):
            raise BadOutputSchema(
                at, f"{name} of an integer has to be an integer, not {node[name]!r}"
            )
    low = max(node.get("minimum", -_FAR), node.get("exclusiveMinimum", -_FAR - 1) + 1)
    high = min(node.get("maximum", _FAR), node.get("exclusiveMaximum", _FAR + 1) - 1)
    if low > high:
        raise BadOutputSchema(at, f"no integer is from {low} to {high}")


_FAR = 10**18 - 1


def held_to(shape: OutputShape, *, tokens: int) -> dict[str, Any]:
    """Returns the schema for an engine whose answer may have so many tokens.

    A brief one has its strings and lists bounded so that the longest answer fits, counted as
    a token a byte, which is the most that a byte-level tokenizer takes.
    """
    schema = written_out(shape.schema)
    if not shape.brief:
        return dict(_bounded(schema, chars=_CHARS_PER_TOKEN * tokens, items=tokens, brief=False))
    tried = (
        _bounded(schema, chars=2**power, items=2 ** max(0, power - 3), brief=True)
        for power in range(12, -1, -1)
    )
    last = schema
    for last in tried:
        if _longest(last) <= tokens:
            break
    return last


_CHARS_PER_TOKEN = 4
_BYTES_PER_CHAR = 4
_INTEGER_BYTES = 19  # what engines are held to: a sign and 18 digits
_NUMBER_BYTES = _INTEGER_BYTES + 22  # and a fraction and an exponent


def _bounded(node: Any, *, chars: int, items: int, brief: bool) -> Any:
    """The same schema with bounds: on all that is open where it is `brief`, else on bounds."""

    def inner(part: Any) -> Any:
        return _bounded(part, chars=chars, items=items, brief=brief)

    if isinstance(node, bool):
        return node
    if "anyOf" in node:
        return {"anyOf": [inner(option) for option in node["anyOf"]]}
    if not node:
        return _ANYTHING_BRIEF if brief else node
    kinds = node.get("type", ())
    kept = dict(node)
    if "string" in kinds and (brief or "maxLength" in node):
        kept["maxLength"] = max(node.get("minLength", 0), min(node.get("maxLength", chars), chars))
    if "array" in kinds and "prefixItems" not in node:
        kept["items"] = inner(node["items"])
        if brief or "maxItems" in node:
            kept["maxItems"] = max(node.get("minItems", 0), min(node.get("maxItems", items), items))
    if "prefixItems" in node:
        kept["prefixItems"] = [inner(part) for part in node["prefixItems"]]
    if "object" in kinds:
        kept["properties"] = {name: inner(part) for name, part in node["properties"].items()}
        kept["additionalProperties"] = not brief and inner(node["additionalProperties"])
    return kept


_ANYTHING_BRIEF = {"type": ["boolean", "null"]}


def _longest(node: Mapping[str, Any]) -> int:
    """Bytes of the longest answer to a bounded schema, escapes inside of strings aside."""
    if "anyOf" in node:
        return max(map(_longest, node["anyOf"]))
    if "const" in node or "enum" in node:
        return max(_written(value) for value in node.get("enum", [node.get("const")]))
    kinds = node["type"]
    return max(_longest_of(kind, node) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _written(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _longest_of(kind: str, node: Mapping[str, Any]) -> int:
    match kind:
        case "string":
            return _BYTES_PER_CHAR * int(node["maxLength"]) + 2
        case "array":
            if "prefixItems" in node:
                return 2 + sum(_longest(part) + 2 for part in node["prefixItems"])
            return 2 + int(node["maxItems"]) * (_longest(node["items"]) + 2)
        case "object":
            members = node["properties"].items()
            return 2 + sum(_written(name) + 4 + _longest(part) for name, part in members)
        case "integer":
            return _INTEGER_BYTES
        case "number":
            return _NUMBER_BYTES
        case _:
            return len("false")
