"""The schema that an agent's, or one run's, results have to fit."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from orchestrator.api import limits
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.output_schema import BadOutputSchema, written_out


def check_output_schema(text: str, field: str) -> None:
    """Raises InvalidInput: too large, no JSON Schema, or one that can't be compiled."""
    limits.text(text, field, max_bytes=limits.SCHEMA_BYTES)
    schema = _parsed(text, field)
    try:
        Draft202012Validator.check_schema(schema)
        written_out(schema)
    except SchemaError as error:
        where = "".join(f".{part}" for part in error.absolute_path)
        raise _wrong(
            field, f"is not JSON Schema 2020-12 at schema{where}: {error.message[:200]}"
        ) from error
    except BadOutputSchema as bad:
        raise _wrong(field, str(bad)) from bad
    except OverflowError as error:
        raise _wrong(field, f"has a pattern that can't be read: {error}") from error
    except RecursionError as error:
        raise _wrong(field, "is nested too deep") from error


def _parsed(text: str, field: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
        json.dumps(schema, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        raise _wrong(field, f"is not JSON: {error}") from error
    except RecursionError as error:
        raise _wrong(field, "is nested too deep") from error
    if not isinstance(schema, dict):
        raise _wrong(field, f"is a JSON {type(schema).__name__}: it has to be an object")
    return schema


def _wrong(field: str, why: str) -> InvalidInput:
    return InvalidInput(f"{field} {why}", field=field)
