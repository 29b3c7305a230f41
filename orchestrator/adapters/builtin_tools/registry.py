"""A source of tools that run in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec, failure
from orchestrator.ports.tools import ToolSource

Run = Callable[[Mapping[str, Any]], Awaitable[str]]


class ToolFailed(Exception):
    """The tool can't do what it was asked; the message tells the model why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`run` gets arguments that fit the schema and returns what the model is shown.

    It may raise `ToolFailed`.
    """

    spec: ToolSpec
    run: Run


class BuiltinTools(ToolSource):
    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.spec.schema.name: tool for tool in tools}
        self._specs = {name: tool.spec for name, tool in self._tools.items()}

    def specs(self) -> Mapping[str, ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:  # noqa: ARG002 - all are pure
        try:
            async with asyncio.timeout(timeout_s):
                content = await self._tools[call.name].run(json.loads(call.arguments_json))
        except ToolFailed as failed:
            return failure(str(failed))
        except TimeoutError:
            return failure(f"{call.name} took longer than {timeout_s:g} s", Outcome.UNKNOWN)
        return ToolResult(Outcome.OK, content)
