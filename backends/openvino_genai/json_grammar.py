"""JSON Schema (the part of draft 2020-12 that describes shapes) to EBNF, properties in order."""

import json
from collections.abc import Mapping

from backends.llm_serving.errors import InvalidRequest
from backends.openvino_genai.integer_range import integer_range
from backends.openvino_genai.literals import literal
from backends.openvino_genai.regex_grammar import regex_rule

MAX_RULES = 2000
_ANNOTATIONS = frozenset(
    [
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
    ]
)
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "number": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
_BASE = {
    "ws": r'("" | " " | "\n" [ ]{0,16})',
    "sp": "ws",
    "char": r'([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" hex4))',
    # No half of a surrogate pair: it is no character.
    "hex4": "[0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}",
    "string": r'"\"" char* "\""',
    "integer": r'"-"? ("0" | [1-9] [0-9]{0,17})',
    "number": r'integer ("." [0-9]{1,17})? ([eE] [+-]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "member": 'string ws ":" sp value',
    "object": '"{" ws (member (ws "," sp member)* ws)? "}"',
    "array": '"[" ws (value (ws "," sp value)* ws)? "]"',
    "value": "object | array | string | number | boolean | null",
}

_FIXED_SPACE = {"ws": '""', "sp": '" "'}


class JsonGrammar:
    """`fixed_space`: separators are ", " and ": ", and there is no other white space."""

    def __init__(self, schema: object, *, fixed_space: bool = False) -> None:
        self._schema = schema
        self._rules: dict[str, str] = _BASE | (_FIXED_SPACE if fixed_space else {})
        self._refs: dict[str, str] = {}

    def text(self, *, objects_only: bool = False) -> str:
        root = "object" if objects_only else self._rule(self._schema, "the schema")
        rules = {"root": root, **self._rules}
        return "\n".join(f"{name} ::= {body}" for name, body in rules.items())

    def _new(self, body: str) -> str:
        if len(self._rules) > MAX_RULES:
            raise InvalidRequest("sampling_parameters: the JSON schema is too large")
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def _rule(self, schema: object, at: str) -> str:
        """The name of a rule, or an expression that needs no parentheses."""
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            raise InvalidRequest(f"sampling_parameters: JSON schema: {at} must be an object")
        if "$ref" in schema:
            return self._ref(schema["$ref"], at)
        for name in ("enum", "const"):
            if name in schema:
                return self._literals(schema[name] if name == "enum" else [schema[name]], at)
        for name in ("anyOf", "oneOf", "allOf"):
            if name in schema:
                return self._combined(name, schema, at)
        return self._typed(schema, at)

    def _ref(self, ref: object, at: str) -> str:
        target: object = self._schema
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise _unsupported("$ref", at, "it must point into the schema itself, like #/$defs/x")
        if ref in self._refs:
            return self._refs[ref]
        for part in ref.lstrip("#").strip("/").split("/") if ref != "#" else []:
            target = target.get(part) if isinstance(target, dict) else None
        if target is None:
            raise InvalidRequest(f"sampling_parameters: JSON schema: {at} refers to no {ref}")
        name = self._new("")
        self._refs[ref] = name
        body = self._rule(target, ref)
        if body == name:
            raise InvalidRequest(f"sampling_parameters: JSON schema: {ref} refers to itself alone")
        self._rules[name] = body
        return name

    def _literals(self, values: object, at: str) -> str:
        if not isinstance(values, list) or not values:
            raise InvalidRequest(f"sampling_parameters: JSON schema: {at}: enum must be a list")
        spelled = (literal(json.dumps(value, ensure_ascii=False)) for value in values)
        return self._new(" | ".join(spelled))

    def _combined(self, keyword: str, schema: Mapping[str, object], at: str) -> str:
        options = schema[keyword]
        others = schema.keys() - _ANNOTATIONS - {keyword, "type"}
        if others:
            raise _unsupported(f"'{min(others)}' beside '{keyword}'", at, "say it in each option")
        if not isinstance(options, list) or not options:
            raise InvalidRequest(
                f"sampling_parameters: JSON schema: {at}: {keyword} must be a list"
            )
        if keyword == "allOf" and len(options) > 1:
            raise _unsupported("'allOf' of several schemas", at, "merge them into one")
        rules = [self._rule(one, f"{at}/{keyword}/{i}") for i, one in enumerate(options)]
        return self._new(" | ".join(rules))

    def _typed(self, schema: Mapping[str, object], at: str) -> str:
        kinds = schema.get("type")
        if kinds is None:
            kinds = next((k for k in ("object", "array") if _KEYWORDS[k] & schema.keys()), None)
            if kinds is None and not schema.keys() - _ANNOTATIONS:
                return "value"
        listed = kinds if isinstance(kinds, list) else [kinds]
        named = [kind for kind in listed if isinstance(kind, str) and kind in _KEYWORDS]
        if not named or len(named) < len(listed):
            raise InvalidRequest(
                f"sampling_parameters: JSON schema: {at}: type must be one or more of "
                f"{', '.join(_KEYWORDS)}, not {json.dumps(kinds)}"
            )
        allowed = {keyword for kind in named for keyword in _KEYWORDS[kind]}
        unknown = schema.keys() - _ANNOTATIONS - allowed - {"type"}
        if unknown:
            raise _unsupported(f"'{min(unknown)}'", at, "leave it out")
        shaped = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
        }
        rules = [shaped[kind](schema, at) if kind in shaped else kind for kind in named]
        return rules[0] if len(rules) == 1 else self._new(" | ".join(rules))

    def _object(self, schema: Mapping[str, object], at: str) -> str:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise InvalidRequest(
                f"sampling_parameters: JSON schema: {at}: properties must be an object and "
                "required a list"
            )
        more = schema.get("additionalProperties", not properties)
        unnamed = [name for name in required if name not in properties]
        if unnamed:
            raise _unsupported(f"the required '{unnamed[0]}'", at, "name it in properties")
        if not properties and more is True:
            return "object"
        pairs = [
            (
                f'{literal(json.dumps(name, ensure_ascii=False))} ws ":" sp '
                f"{self._rule(inner, f'{at}/properties/{name}')}",
                name in required,
            )
            for name, inner in properties.items()
        ]
        tail = ""
        if more is not False:
            tail = f'string ws ":" sp {self._rule(more, f"{at}/additionalProperties")}'
        first, _ = self._members(pairs, tail)
        return self._new(f'"{{" ws {first} "}}"' if first else '"{" ws "}"')

    def _members(self, pairs: list[tuple[str, bool]], tail: str) -> tuple[str, str]:
        """The rule for the members when none is written yet, and when one already is."""
        first = self._new(f'"" | {tail} (ws "," sp {tail})* ws') if tail else ""
        later = self._new(f'(ws "," sp {tail})* ws') if tail else "ws"
        for pair, needed in reversed(pairs):
            skip_first = [] if needed else [first or '""']
            skip_later = [] if needed else [later]
            first = self._new(" | ".join([f"{pair} {later}", *skip_first]))
            later = self._new(" | ".join([f'ws "," sp {pair} {later}', *skip_later]))
        return first, later

    def _array(self, schema: Mapping[str, object], at: str) -> str:
        if "prefixItems" in schema:
            return self._tuple(schema, at)
        least, most = _bounds(schema, "minItems", "maxItems", at)
        item = self._rule(schema.get("items", True), f"{at}/items")
        if most == 0:
            return self._new('"[" ws "]"')
        rest = f'(ws "," sp {item}){{{max(0, least - 1)},{"" if most is None else most - 1}}}'
        body = f"{item} {rest} ws"
        return self._new(f'"[" ws {body if least else f"({body})?"} "]"')

    def _tuple(self, schema: Mapping[str, object], at: str) -> str:
        items = schema["prefixItems"]
        if not isinstance(items, list) or not items or schema.get("items", False) is not False:
            raise _unsupported("'prefixItems' with 'items'", at, "set items to false")
        rules = [self._rule(one, f"{at}/prefixItems/{i}") for i, one in enumerate(items)]
        return self._new('"[" ws ' + ' ws "," sp '.join(rules) + ' ws "]"')

    def _string(self, schema: Mapping[str, object], at: str) -> str:
        least, most = _bounds(schema, "minLength", "maxLength", at)
        if "pattern" in schema:
            if "minLength" in schema or "maxLength" in schema:
                raise _unsupported("'pattern' beside a length", at, "say both in the pattern")
            return self._new(rf'"\"" {regex_rule(schema["pattern"], in_json=True)} "\""')
        if least == 0 and most is None:
            return "string"
        return self._new(rf'"\"" char{{{least},{"" if most is None else most}}} "\""')

    def _integer(self, schema: Mapping[str, object], at: str) -> str:
        limits: dict[str, int] = {}
        for name in _KEYWORDS["integer"] & schema.keys():
            value = schema[name]
            if isinstance(value, bool) or not isinstance(value, int):
                raise _unsupported(f"'{name}' of {json.dumps(value)}", at, "give an integer")
            limits[name] = value
        if not limits:
            return "integer"
        lows = [limits.get("minimum"), _add(limits.get("exclusiveMinimum"), 1)]
        highs = [limits.get("maximum"), _add(limits.get("exclusiveMaximum"), -1)]
        low = max((one for one in lows if one is not None), default=None)
        high = min((one for one in highs if one is not None), default=None)
        if low is not None and high is not None and low > high:
            raise InvalidRequest(
                f"sampling_parameters: JSON schema: {at}: no integer is from {low} to {high}"
            )
        return self._new(integer_range(low, high))


def _add(value: int | None, by: int) -> int | None:
    return None if value is None else value + by


def _bounds(schema: Mapping[str, object], low: str, high: str, at: str) -> tuple[int, int | None]:
    least, most = schema.get(low, 0), schema.get(high)
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (least, most or 0))
    if not whole or not isinstance(least, int) or least < 0:
        raise InvalidRequest(
            f"sampling_parameters: JSON schema: {at}: {low} and {high} must be integers"
        )
    if isinstance(most, int) and most < least:
        raise InvalidRequest(
            f"sampling_parameters: JSON schema: {at}: {high} ({most}) is below {low} ({least})"
        )
    return least, most if isinstance(most, int) else None


def _unsupported(what: str, at: str, instead: str) -> InvalidRequest:
    return InvalidRequest(
        f"sampling_parameters: JSON schema: {at}: {what} is not supported here; {instead}"
    )
