"""`lookup`: records by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.adapters.builtin_tools.registry import ToolFailed

_LETTER_AND_NUMBER = re.compile(r"([A-Z]?)(0*)(\d+)")


class Records:
    """Keys are upper case; a request may write them in any case."""

    def __init__(self, records: Mapping[str, Any]) -> None:
        self._records = records
        self._plain = _by((_plain(key), key) for key in records)
        self._shortened = _by((short, key) for key in records for short in _shortened(_plain(key)))

    async def look_up(self, arguments: Mapping[str, Any]) -> str:
        key: str = arguments["key"].strip()
        record = self._records.get(key.upper())
        if record is None:
            raise ToolFailed(f"there is no record {key[:60]!r}; {self._advice(key)}")
        return json.dumps(record)

    def _advice(self, key: str) -> str:
        for index in (self._plain, self._shortened):
            meant = index.get(_plain(key), set())
            if len(meant) == 1:
                return f"did you mean {next(iter(meant))!r}?"
        return "orders have keys such as A1042, products such as P07"


def _by(pairs: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for form, key in pairs:
        keys.setdefault(form, set()).add(key)
    return keys


def _plain(key: str) -> str:
    return re.sub(r"[#\s-]", "", key).upper()


def _shortened(key: str) -> Iterator[str]:
    """The key without its letter, without leading zeros, and without both."""
    if match := _LETTER_AND_NUMBER.fullmatch(key):
        letter, zeros, number = match.groups()
        for some in range(len(zeros) + 1):
            yield letter + zeros[some:] + number
            yield zeros[some:] + number
