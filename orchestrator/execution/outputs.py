"""An answer's text, read as the JSON that its run was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from jsonschema.exceptions import best_match

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.execution.bounded_check import TooMuch, errors

MAX_OUTPUT_BYTES = 65_536
MAX_CHECKS = 50_000
_MAX_WHY_CHARS = 400
_FENCED = re.compile(r"```[a-zA-Z]*\n(.*)\n```", re.DOTALL)


_AS_JSON = "Answer with one JSON value and nothing else."
_FITTING = "It has to fit this JSON Schema:\n"


def asked_for(schema_json: str, entry: ModelEntry) -> str:
    """Returns what tells the model to answer so.

    The schema is left out where the engine knows it anyhow, rather than push the conversation out.
    """
    shown = not entry.constrains or len(schema_json) <= entry.context_tokens
    return f"{_AS_JSON} {_FITTING}{schema_json}" if shown else _AS_JSON


class BadOutput(Exception):
    """The text is not what was asked for; the message tells the model why."""


def read_output(schema: Mapping[str, Any], text: str) -> str:
    """Returns the text's value as JSON on one line, its names in the order they were written.

    A fence of Markdown around all of it is taken off.

    Raises:
        BadOutput: it is no JSON that everyone reads alike, too long, or does not fit.
    """
    value = _parsed(text)
    try:
        canonical = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(canonical.encode())
        if size > MAX_OUTPUT_BYTES:
            raise BadOutput(f"the JSON has {size} bytes; at most {MAX_OUTPUT_BYTES} are taken")
        wrong = errors(schema, value, most_checks=MAX_CHECKS)
    except (TooMuch, RecursionError):
        raise BadOutput("the JSON is too large or too deep to be checked") from None
    except (ValueError, OverflowError):
        raise BadOutput("the JSON has a number or a character that not all can read") from None
    if wrong:
        worst = best_match(wrong)
        assert worst is not None
        where = "".join(f".{part}" for part in worst.absolute_path)
        raise BadOutput(_cut(f"the JSON does not fit: answer{where}: {worst.message}"))
    return canonical


def _parsed(text: str) -> Any:
    fenced = _FENCED.fullmatch(text.strip())
    try:
        return json.loads(
            fenced[1] if fenced else text,
            parse_constant=_refused,
            object_pairs_hook=_without_doubles,
        )
    except (ValueError, RecursionError) as wrong:
        raise BadOutput(_cut(f"the answer is not JSON: {wrong}")) from None


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names the same property twice")
    return found


def _cut(text: str) -> str:
    if len(text) <= _MAX_WHY_CHARS:
        return text
    half = _MAX_WHY_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"
