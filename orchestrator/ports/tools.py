"""The execution layer's tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import ToolResult, ToolSpec


class ToolRegistry(ABC):
    @abstractmethod
    def specs(self) -> Mapping[str, ToolSpec]:
        """Every tool by its name."""

    def select(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """The named tools that exist, in the order of the names."""
        specs = self.specs()
        return tuple(specs[name] for name in names if name in specs)

    @abstractmethod
    async def call(self, call: ToolCall, *, key: str) -> ToolResult:
        """Runs one call; `key` is its idempotency key.

        Bad arguments, an unknown tool, a failure or a timeout are results with
        `ok` False that the model can read, never exceptions.
        """
