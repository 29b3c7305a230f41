"""One tool call as a JSON object with `name` and `arguments`, or `parameters`."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from orchestrator.domain.chat import MalformedToolCall
from orchestrator.domain.runs import Usage

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SPACE = re.compile(r"[ \t\n\r]*")

MAX_CALL_CHARS = 32_768
ARGUMENTS = ("arguments", "parameters")
"""Either is the arguments' name, whatever the format: models mix them up."""


def read_call(body: str) -> tuple[str, str]:
    """Returns the name and the arguments, a JSON object exactly as it was written.

    Raises:
        MalformedToolCall: the body is something else. The detail quotes none of it.
    """
    members = _read(body)
    given = [key for key in ARGUMENTS if key in members]
    if len(given) > 1:
        _refuse('it has both "arguments" and "parameters"')
    value, written = members[given[0]] if given else ({}, "{}")
    if not isinstance(value, dict):
        _refuse(f'"{given[0]}" must be a JSON object')
    name, _ = members.get("name", ("", ""))
    return checked_name(name), written


def read_arguments(body: str) -> str:
    """Raises MalformedToolCall: the body is no JSON object."""
    _read(body)
    return body


def checked_name(name: object) -> str:
    """Raises MalformedToolCall."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        _refuse('"name" must be a tool\'s name of a-z, A-Z, 0-9, "_", "." and "-"')
    return name


def too_long() -> NoReturn:
    raise MalformedToolCall(f"a tool call is longer than {MAX_CALL_CHARS} characters", Usage())


def _read(body: str) -> dict[str, tuple[Any, str]]:
    try:
        return _members(body)
    except json.JSONDecodeError as error:
        _refuse(f"it is not a JSON object: {error.msg} at character {error.pos}")
    except RecursionError:
        _refuse("it is nested too deeply")


def _refuse(detail: str) -> NoReturn:
    raise MalformedToolCall(f"a tool call can't be read: {detail}", Usage())


def _members(body: str) -> dict[str, tuple[Any, str]]:
    """Returns each member's value and its text, which `json.loads` would not give."""
    at = _expect(body, 0, "{")
    members: dict[str, tuple[Any, str]] = {}
    if body[at : at + 1] == "}":
        _end(body, at + 1)
        return members
    while True:
        key, at = _DECODER.raw_decode(body, at)
        if not isinstance(key, str) or key in members:
            raise json.JSONDecodeError("Expecting a new property name", body, at)
        start = _expect(body, at, ":")
        value, at = _DECODER.raw_decode(body, start)
        members[key] = (value, body[start:at])
        at = _skip(body, at)
        if body[at : at + 1] == "}":
            _end(body, at + 1)
            return members
        at = _expect(body, at, ",")


def _refuse_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _skip(body: str, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _expect(body: str, at: int, char: str) -> int:
    at = _skip(body, at)
    if body[at : at + 1] != char:
        raise json.JSONDecodeError(f"Expecting {char!r}", body, at)
    return _skip(body, at + 1)


def _end(body: str, at: int) -> None:
    at = _skip(body, at)
    if at != len(body):
        raise json.JSONDecodeError("Extra data", body, at)
