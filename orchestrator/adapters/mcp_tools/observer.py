"""Who is told what happens to the servers."""

from __future__ import annotations

from typing import Protocol


class McpObserver(Protocol):
    def connected(self, server: str, *, up: bool) -> None:
        """A session was opened, or there is none."""

    def refused(self, server: str, tool: str) -> None:
        """A tool is not what was pinned, or is gone."""


class Unobserved:
    """Tells nobody."""

    def connected(self, server: str, *, up: bool) -> None: ...

    def refused(self, server: str, tool: str) -> None: ...
