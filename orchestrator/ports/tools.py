"""Where tools come from: Python functions, HTTP services, MCP servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from orchestrator.domain.errors import AlreadyExists
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import ToolResult, ToolSpec, failure


class ToolSource(ABC):
    """Tools of one kind. What it returns is bounded and made safe by the caller."""

    @abstractmethod
    def specs(self) -> Mapping[str, ToolSpec]:
        """Every tool by its name, which is also its schema's name."""

    @abstractmethod
    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        """Runs one call of a tool of this source, once.

        `call.arguments_json` is a JSON object that fits the tool's schema; `key` is
        the idempotency key, the same for every try of the call. The source ends the
        call after `timeout_s` and says what is known then; the caller cancels it a
        little later, or when its run is cancelled, and that must free what it holds.
        A failure is a result and never an exception: one that escapes is UNKNOWN.
        """


class ToolRegistry:
    """The tools of several sources by name."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        """Raises AlreadyExists: two sources have a tool of the same name."""
        self._sources = tuple(sources)
        owners: dict[str, ToolSpec] = {}
        for source in self._sources:
            for name, spec in source.specs().items():
                if name in owners:
                    raise AlreadyExists(
                        f"two tools are named {name!r}, one of kind {owners[name].kind} and one "
                        f"of kind {spec.kind}: give one of them another name"
                    )
                owners[name] = spec

    def specs(self) -> Mapping[str, ToolSpec]:
        """Every tool by its name. A source's tools may come and go with its server."""
        found: dict[str, ToolSpec] = {}
        for source in self._sources:
            for name, spec in source.specs().items():
                found.setdefault(name, spec)
        return found

    def select(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """The named tools that exist, in the order of the names."""
        specs = self.specs()
        return tuple(specs[name] for name in names if name in specs)

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        """Runs one call at the source that has the tool, as `ToolSource.call` does."""
        for source in self._sources:
            if call.name in source.specs():
                return await source.call(call, key=key, timeout_s=timeout_s)
        return failure(f"there is no tool {call.name[:64]!r}")
