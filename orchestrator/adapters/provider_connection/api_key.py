"""Keys of providers: read once, shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from orchestrator.domain.errors import Remedy, Unavailable


class ApiKey:
    """A provider's key. `place` says where it comes from, for people; `repr` shows only that.

    It is read when it is first needed and kept, and again after the provider refused it: a file
    may hold a new one by then.
    """

    def __init__(self, place: str, read: Callable[[], str]) -> None:
        self._place = place
        self._read = read
        self._value = ""

    @classmethod
    def from_environment(cls, name: str, *, prefix: str = "") -> ApiKey:
        def read() -> str:
            return _prefixed(prefix, os.environ.get(name, ""))

        return cls(f"the environment variable {name}", read)

    @classmethod
    def from_file(cls, path: Path, *, prefix: str = "") -> ApiKey:
        def read() -> str:
            try:
                return _prefixed(prefix, path.read_text("utf-8"))
            except (OSError, UnicodeDecodeError):
                return ""

        return cls(f"the file {path}", read)

    def __repr__(self) -> str:
        return f"ApiKey({self._place})"

    @property
    def missing(self) -> str:
        """Why there is no key; empty when there is one."""
        return "" if self._kept() else f"{self._place} holds no key"

    def value(self, provider: str) -> str:
        """Raises Unavailable: MODEL_UNAVAILABLE, there is none."""
        value = self._kept()
        if not value:
            raise Unavailable(
                f"provider {provider} has no key: {self.missing}",
                reason="MODEL_UNAVAILABLE",
                remedy=Remedy.TRY_ANOTHER,
            )
        return value

    def renewed(self, refused: str) -> bool:
        """Reads it again; says whether it is another one now than the one that was refused."""
        self._value = self._checked() or self._value
        return self._value != refused

    def _kept(self) -> str:
        self._value = self._value or self._checked()
        return self._value

    def _checked(self) -> str:
        value = self._read().strip()
        # What can't stand in a header would be quoted by the error that refuses it.
        return value if value.isascii() and value.isprintable() else ""


def _prefixed(prefix: str, value: str) -> str:
    return prefix + value.strip() if value.strip() else ""
