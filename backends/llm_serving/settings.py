"""Reads `1/model.json` into dataclasses: unknown keys and wrong types stop the load."""

import json
import typing
from collections import abc
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from backends.llm_serving.errors import SettingsError

T = TypeVar("T")
_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}


def read_settings(kind: type[T], path: Path) -> T:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; it holds the engine's settings") from None
    try:
        given = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None
    return read_section(kind, given, str(path))


def read_section(kind: type[T], given: object, where: str) -> T:
    """Fields that are dataclasses are read from nested objects."""
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: must be a JSON object, not {json.dumps(given)[:80]}")
    hints = typing.get_type_hints(kind)
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise SettingsError(f"{where}: unknown key '{unknown[0]}'; known are {', '.join(known)}")
    values = {name: _read(hints[name], given[name], f"{where}: '{name}'") for name in given}
    try:
        return kind(**values)
    except TypeError:
        missing = [
            one.name
            for one in fields(kind)  # type: ignore[arg-type]
            if one.name not in given and one.default is MISSING and one.default_factory is MISSING
        ]
        raise SettingsError(f"{where}: needs {' and '.join(missing)}") from None
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _read(hint: Any, value: object, where: str) -> object:
    if is_dataclass(hint):
        return read_section(typing.cast(type[object], hint), value, where)
    if typing.get_origin(hint) is abc.Mapping:
        if not isinstance(value, dict):
            raise SettingsError(f"{where} must be a JSON object, not {json.dumps(value)[:80]}")
        return value
    options = typing.get_args(hint) or (hint,)
    if value is None and type(None) in options:
        return None
    option = next(one for one in options if one is not type(None))
    if option is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is option:
        return value
    raise SettingsError(f"{where} must be {_NAMES[option]}, not {json.dumps(value)[:80]}")
