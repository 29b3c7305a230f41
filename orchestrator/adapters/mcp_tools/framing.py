"""Lines out of a byte stream, none of them larger than a bound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD_BYTES = 256
# An answer names its request before its result, unless a server orders its keys otherwise.
_ANSWERED = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')


@dataclass(frozen=True, slots=True)
class Oversize:
    """A line that was dropped; `answered` is the request it was the answer of, if it says so."""

    answered: int | None


class BoundedLines:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._oversize = False

    @property
    def held_bytes(self) -> int:
        """Of the line that has no end yet."""
        return len(self._line)

    def feed(self, chunk: bytes) -> Iterator[bytes | Oversize]:
        """Yields the lines that `chunk` completes, without their ends; empty ones are left out."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield from self._take()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        if self._oversize:
            return
        self._line += part
        if len(self._line) > self._max_bytes:
            self._oversize = True
            del self._line[_HEAD_BYTES:]

    def _take(self) -> Iterator[bytes | Oversize]:
        line, oversize = bytes(self._line), self._oversize
        self._line.clear()
        self._oversize = False
        if oversize:
            found = _ANSWERED.match(line)
            yield Oversize(int(found[1]) if found else None)
        elif line.strip():
            yield line
