"""Finding the end of a JSON object in a stream, and early that it is no call."""

from __future__ import annotations

import re

from orchestrator.tool_calls.json_call import ARGUMENTS, MAX_CALL_CHARS

_CALL_KEYS = frozenset({"name", "id", "type", *ARGUMENTS})
_SPACE = re.compile(r"\s*")
_OUTSIDE_STRING = re.compile(r"""["'{}\[\],]""")
_IN_STRING = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
_FUNCTION = re.compile(r"""["']type["']\s*:\s*["']function["']""")


class ObjectScan:
    """Takes the text from an opening brace to the one that closes it.

    Outside strings JSON has no single quotes; where there are some, they delimit strings,
    so that a call in Python's spelling ends where it should, and is malformed as a whole.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._depth = 0
        self._quote = ""
        self._escaped = False
        self._at_key = False
        self._key: str | None = None  # as far as it was read
        self._keys: set[str] = set()
        self.ended = False
        self.foreign = False
        """It has a key that no call has, or none where one should be."""

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def too_long(self) -> bool:
        return self._length >= MAX_CALL_CHARS and not self.ended

    @property
    def has_call_keys(self) -> bool:
        """It has a name and arguments, so it was meant to be a call."""
        return "name" in self._keys and not self._keys.isdisjoint(ARGUMENTS)

    @property
    def is_call(self) -> bool:
        """Asked of a whole object."""
        function = "type" not in self._keys or _FUNCTION.search(self.text) is not None
        return self.has_call_keys and not self.foreign and function

    def take(self, text: str, at: int, *, whatever: bool) -> int:
        """Returns where it stopped: at the end of the object or of the text, when it is too
        long, and, but for `whatever`, as soon as it is foreign.
        """
        end = min(len(text), at + MAX_CALL_CHARS - self._length)
        start = at
        while at < end and not self.ended and (whatever or not self.foreign):
            at = self._in_string(text, at, end) if self._quote else self._outside(text, at, end)
        self._parts.append(text[start:at])
        self._length += at - start
        return at

    def _outside(self, text: str, at: int, end: int) -> int:
        if self._at_key:
            return self._to_key(text, at, end)
        found = _OUTSIDE_STRING.search(text, at, end)
        if found is None:
            return end
        char = found[0]
        if char in "\"'":
            self._quote = char
        elif char in "{[":
            self._depth += 1
            self._at_key = self._depth == 1
        elif char in "}]":
            self._depth -= 1
            self.ended = self._depth == 0
        else:
            self._at_key = self._depth == 1
        return found.end()

    def _to_key(self, text: str, at: int, end: int) -> int:
        spaces = _SPACE.match(text, at, end)
        at = spaces.end() if spaces else at
        if at == end:
            return end
        self._at_key = False
        if text[at] in "\"'":
            self._quote, self._key = text[at], ""
            return at + 1
        self.foreign = True
        return at

    def _in_string(self, text: str, at: int, end: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        found = _IN_STRING[self._quote].search(text, at, end)
        if self._key is not None:
            self._key += text[at : found.start() if found else end]
        if found is None:
            return end
        if found[0] == "\\":
            self._escaped = True
        else:
            self._quote = ""
            self._close_key()
        return found.end()

    def _close_key(self) -> None:
        if self._key is None:
            return
        self._keys.add(self._key)
        self.foreign = self.foreign or self._key not in _CALL_KEYS
        self._key = None
