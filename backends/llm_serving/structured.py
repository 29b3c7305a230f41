"""What an answer has to look like: vLLM's `structured_outputs`, and its older `guided_*` names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from backends.llm_serving.errors import InvalidRequest

Kind = Literal["json", "json_object", "regex", "choice", "grammar", "structural_tag"]
_KINDS: tuple[Kind, ...] = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")
_FIXED_SPACE = "disable_any_whitespace"
_LEFT_TO_ENGINE = frozenset({"whitespace_pattern", "disable_fallback", _FIXED_SPACE})


@dataclass(frozen=True, slots=True)
class StructuredOutput:
    kind: Kind
    text: str
    """json: the schema; choice: a JSON list; others: themselves; json_object: empty."""
    fixed_space: bool = False
    """No white space but after a comma or colon, and there one space: disable_any_whitespace."""


def parse_structured(given: Mapping[str, object]) -> StructuredOutput | None:
    asked: list[StructuredOutput] = []
    for name, value in given.items():
        if value is None:
            continue
        if name in {"structured_outputs", "guided_decoding"}:
            asked += _parse_object(name, value)
        else:
            kind = next(kind for kind in _KINDS if name == f"guided_{kind}")
            asked.append(_parse_kind(name, kind, value))
    if len(asked) > 1:
        kinds = ", ".join(sorted(one.kind for one in asked))
        raise InvalidRequest(f"sampling_parameters: one structured output at a time, not {kinds}")
    return asked[0] if asked else None


def _parse_object(name: str, value: object) -> list[StructuredOutput]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"sampling_parameters: '{name}' must be an object like {{'json': …}}")
    asked = []
    for key, inner in value.items():
        if inner is None or (key == "json_object" and inner is False):
            continue
        kind = next((kind for kind in _KINDS if kind == key), None)
        if kind is not None:
            asked.append(_parse_kind(f"{name}.{key}", kind, inner))
        elif not (key in _LEFT_TO_ENGINE and inner is False) and key != _FIXED_SPACE:
            raise InvalidRequest(
                f"sampling_parameters: '{name}' has an unknown key '{key}'; "
                f"known are {', '.join(_KINDS)}"
            )
    fixed = value.get(_FIXED_SPACE) or False
    if not isinstance(fixed, bool):
        raise InvalidRequest(f"sampling_parameters: '{name}.{_FIXED_SPACE}' must be true or false")
    return [replace(one, fixed_space=fixed) for one in asked]


def _parse_kind(name: str, kind: Kind, value: object) -> StructuredOutput:
    if kind == "json":
        return StructuredOutput(kind, _schema(name, value))
    if kind == "json_object":
        if value is not True:
            raise InvalidRequest(f"sampling_parameters: '{name}' must be true or false")
        return StructuredOutput(kind, "")
    if kind == "choice":
        usable = isinstance(value, list) and value and all(isinstance(v, str) and v for v in value)
        if not usable:
            raise InvalidRequest(
                f"sampling_parameters: '{name}' must be a list of non-empty strings"
            )
        return StructuredOutput(kind, json.dumps(value))
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"sampling_parameters: '{name}' must be a non-empty string")
    return StructuredOutput(kind, value)


def _schema(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise InvalidRequest(f"sampling_parameters: '{name}' is not JSON: {error}") from None
    if not isinstance(value, dict | bool):
        raise InvalidRequest(f"sampling_parameters: '{name}' must be a JSON schema (an object)")
    return json.dumps(value)
