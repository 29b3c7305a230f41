"""Checking a value against a caller's JSON Schema, which may be one that takes for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

MAX_DEPTH = 64
"""Keywords inside keywords, well before the interpreter's own limit is reached."""

MAX_UNIQUE_ITEMS = 128


class TooMuch(Exception):
    """The check was given up."""


def errors(schema: Mapping[str, Any], value: Any, *, most_checks: int) -> list[ValidationError]:
    """Returns what is wrong. Patterns are not bounded: leave them out.

    Raises:
        TooMuch: it would take more keywords than `most_checks`, or go too deep.
        Unresolvable: a reference leads nowhere.
    """
    _spent.set(_Spent(most_checks))
    return list(_Bounded(schema, registry=Registry()).iter_errors(value))


@dataclass(slots=True)
class _Spent:
    most_checks: int
    checks: int = 0
    depth: int = 0


_spent: ContextVar[_Spent] = ContextVar("spent")


def _bounded(check: Any) -> Any:
    def counted(
        validator: Validator, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        spent = _spent.get()
        spent.checks += 1
        if spent.checks > spent.most_checks or spent.depth >= MAX_DEPTH:
            raise TooMuch
        spent.depth += 1
        try:
            yield from check(validator, value, instance, schema) or ()
        finally:
            spent.depth -= 1

    return counted


def _unique(
    validator: Validator, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, list) and len(instance) > MAX_UNIQUE_ITEMS:
        raise TooMuch  # its time grows with their square
    yield from Draft202012Validator.VALIDATORS["uniqueItems"](validator, value, instance, schema)


_CHECKS = {**Draft202012Validator.VALIDATORS, "uniqueItems": _unique}
_Bounded = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _bounded(check) for name, check in _CHECKS.items()}
)
