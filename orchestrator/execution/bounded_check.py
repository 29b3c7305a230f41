"""Checking a value against a caller's JSON Schema, which may be one that takes for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

MAX_DEPTH = 64
"""Keywords inside keywords, well before the interpreter's own limit is reached."""

MAX_UNIQUE_ITEMS = 128

MAX_ERRORS = 64
"""Of the schema as a whole: one is told, and there may be as many as parts of the value."""

_MESSAGE_CHARS = 256  # cost as much as a check
_EQUAL_ITEMS, _EQUAL_TEXTS = 4, 32  # so many comparisons do


class TooMuch(Exception):
    """The check was given up."""


def errors(schema: Mapping[str, Any], value: Any, *, most_checks: int) -> list[ValidationError]:
    """Returns what is wrong, but no more than so much. Patterns are not bounded: leave them out.

    Raises:
        TooMuch: it would take more than `most_checks`, or go too deep. A keyword is one
            check; errors and comparisons count as well.
        Unresolvable: a reference leads nowhere.
        OverflowError: a number is too large to be divided.
    """
    _spent.set(_Spent(most_checks))
    found = _Bounded(schema, registry=Registry()).iter_errors(value)
    return list(islice(found, MAX_ERRORS))


@dataclass(slots=True)
class _Spent:
    most_checks: int
    checks: int = 0
    depth: int = 0

    def add(self, checks: int) -> None:
        self.checks += checks
        if self.checks > self.most_checks:
            raise TooMuch


_spent: ContextVar[_Spent] = ContextVar("spent")


def _bounded(check: Any) -> Any:
    def counted(
        validator: Validator, value: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        spent = _spent.get()
        spent.add(1)
        if spent.depth >= MAX_DEPTH:
            raise TooMuch
        spent.depth += 1
        try:
            for error in check(validator, value, instance, schema) or ():
                if not error.relative_schema_path:  # it is new, not passed on from further in
                    spent.add(1 + len(error.message) // _MESSAGE_CHARS)
                yield error
        finally:
            spent.depth -= 1

    return counted


def _unique(
    validator: Validator, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, list):
        if len(instance) > MAX_UNIQUE_ITEMS:
            raise TooMuch  # its time grows with their square
        _spent.get().add(len(instance) ** 2 // _EQUAL_ITEMS // 2)
    yield from Draft202012Validator.VALIDATORS["uniqueItems"](validator, value, instance, schema)


def _enum(
    validator: Validator, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, str):  # much faster than what compares all kinds of values
        _spent.get().add(len(value) // _EQUAL_TEXTS)
        if instance not in value:
            yield ValidationError(f"{instance!r} is not one of {value!r}")
        return
    _spent.get().add(len(value) // _EQUAL_ITEMS)
    yield from Draft202012Validator.VALIDATORS["enum"](validator, value, instance, schema)


_CHECKS = {**Draft202012Validator.VALIDATORS, "uniqueItems": _unique, "enum": _enum}
_Bounded = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _bounded(check) for name, check in _CHECKS.items()}
)
