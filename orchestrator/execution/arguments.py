"""Arguments of a tool call, checked against the tool's JSON Schema (draft 2020-12).

An object with named properties takes no others, unless its schema says so itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from orchestrator.domain.tools import ToolSpec
from orchestrator.execution.reference_loops import REFERENCES, endless_reference, references
from orchestrator.execution.stack_end import stack_end
from orchestrator.execution.time_limit import TimeUp, within

MAX_ARGUMENTS_BYTES = 16_384
MAX_SCHEMA_BYTES = 65_536
_MAX_WHY_CHARS = 400
TOO_LARGE_NUMBER = "the arguments have a number that is too large to be checked"

MAX_CHECK_S = 0.5
"""Of processor time: a schema's patterns may take for ever on some texts."""

_JOINED = frozenset(
    (*REFERENCES, "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
)
_SAYS_ITSELF = ("additionalProperties", "unevaluatedProperties", "patternProperties")


class BadArguments(Exception):
    """The arguments are no call of this tool; the message tells the model why."""


class BadSchema(Exception):
    """The tool's schema can't be used; the message says why."""


class ArgumentReader:
    """Compiles each tool's schema once."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[ToolSpec, Draft202012Validator]] = {}

    def check(self, specs: Mapping[str, ToolSpec]) -> None:
        """Raises BadSchema for the first tool whose schema is wrong."""
        for spec in specs.values():
            self._validator(spec)

    def read(self, spec: ToolSpec, arguments_json: str) -> str:
        """Returns the arguments as JSON that everyone reads alike: no double names, no NaN.

        Raises:
            BadArguments: they do not fit the schema, or are too long.
            BadSchema: the schema itself is wrong.
        """
        arguments = parsed(arguments_json)
        validator = self._validator(spec)

        def checked() -> list[ValidationError]:
            with stack_end():
                return list(validator.iter_errors(arguments))

        try:
            wrong = within(MAX_CHECK_S, checked)
        except RecursionError:
            raise BadArguments("the arguments are nested too deep") from None
        except OverflowError:
            raise BadArguments(TOO_LARGE_NUMBER) from None
        except TimeUp:
            raise BadArguments(
                f"the arguments took more than {MAX_CHECK_S:g} s to be checked: "
                "write shorter or plainer ones"
            ) from None
        if wrong:
            raise BadArguments(why_wrong(wrong))
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False)

    def _validator(self, spec: ToolSpec) -> Draft202012Validator:
        name = spec.schema.name
        known = self._compiled.get(name)
        if known is None or known[0] is not spec:
            known = (spec, compiled(name, spec.schema.parameters))
            self._compiled[name] = known
        return known[1]


def compiled(name: str, schema: Mapping[str, Any]) -> Draft202012Validator:
    """Raises BadSchema: no valid schema of an object, too large, or with a remote reference."""
    try:
        size = len(json.dumps(schema))
        plain = json.loads(json.dumps(schema))
    except (TypeError, ValueError, RecursionError):
        raise BadSchema(f"tool {name!r}: its schema has no JSON form") from None
    if size > MAX_SCHEMA_BYTES:
        raise BadSchema(
            f"tool {name!r}: its schema has {size} bytes; at most {MAX_SCHEMA_BYTES} are read"
        )
    if plain.get("type") != "object":
        raise BadSchema(
            f'tool {name!r}: its schema must have "type": "object", not {plain.get("type")!r}'
        )
    try:
        with stack_end():
            return _validator_of(name, plain)
    except RecursionError:
        raise BadSchema(f"tool {name!r}: its schema is nested too deep") from None


def _validator_of(name: str, schema: dict[str, Any]) -> Draft202012Validator:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as wrong:
        where = "".join(f".{part}" for part in wrong.absolute_path)
        raise BadSchema(
            f"tool {name!r}: schema{where} is not JSON Schema 2020-12: {_cut(wrong.message)}"
        ) from None
    except OverflowError as wrong:
        raise BadSchema(f"tool {name!r}: a pattern of its schema is wrong: {wrong}") from None
    schema.pop("$schema", None)
    _check_references(name, schema)
    _close(schema)
    return Draft202012Validator(schema, registry=Registry())


def _check_references(name: str, schema: Mapping[str, Any]) -> None:
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))

    def lookup(reference: str) -> Any:
        if not reference.startswith("#"):
            raise BadSchema(
                f"tool {name!r}: its schema refers to {reference[:200]!r}; "
                "only what is inside it may be referred to: '#/$defs/…'"
            )
        try:
            return resolver.lookup(reference).contents
        except Unresolvable:
            raise BadSchema(
                f"tool {name!r}: its schema has nothing at {reference[:200]!r}"
            ) from None

    for reference in references(schema):
        lookup(reference)
    endless = endless_reference(schema, lookup)
    if endless is not None:
        raise BadSchema(
            f"tool {name!r}: its schema refers to itself without end at {endless[:200]!r}"
        )


def _close(node: Any, *, root: bool = True) -> None:
    """Says "no other properties" where an object's schema leaves it open.

    Below a node that joins schemas (allOf, $ref, …) another of them may describe the
    same property, so nothing is closed there but what that node itself allows.
    """
    if not isinstance(node, dict):
        return
    described = "properties" in node or not _JOINED.isdisjoint(node)
    if (root or described) and not any(word in node for word in _SAYS_ITSELF):
        node["unevaluatedProperties"] = False
    if _JOINED.isdisjoint(node):
        for child in node.get("properties", {}).values():
            _close(child, root=False)
        for child in (node.get("items"), *node.get("prefixItems", ())):
            _close(child, root=False)


def parsed(arguments_json: str) -> Any:
    """Raises BadArguments: no JSON that everyone reads alike, or too long."""
    try:
        size = len(arguments_json.encode())
        if size > MAX_ARGUMENTS_BYTES:
            raise BadArguments(
                f"the arguments have {size} bytes; at most {MAX_ARGUMENTS_BYTES} are taken"
            )
        arguments = json.loads(
            arguments_json, parse_constant=_refused, object_pairs_hook=_without_doubles
        )
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadArguments("the arguments are not a JSON object") from None
    return arguments


def _refused(constant: str) -> NoReturn:
    raise ValueError(constant)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadArguments("the arguments name the same property twice")
    return found


def why_wrong(errors: list[ValidationError]) -> str:
    # A property of a wrong kind counts as unevaluated too: name what is wrong with it first.
    named = [error for error in errors if error.validator != "unevaluatedProperties"]
    wrong = best_match(named or errors)
    assert wrong is not None
    where = "".join(f".{part}" for part in wrong.absolute_path)
    return f"arguments{_cut(where)}: {_cut(wrong.message)}"


def _cut(text: str) -> str:
    if len(text) <= _MAX_WHY_CHARS:
        return text
    half = _MAX_WHY_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"
