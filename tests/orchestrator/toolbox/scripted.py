"""A tool that does what a test says, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult, ToolRetry, ToolSpec, failure
from orchestrator.ports.tools import ToolSource

Do = Callable[["ScriptedTool"], Awaitable[ToolResult]]
OK = ToolResult(Outcome.OK, "done")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
QUICK = ToolRetry(max_attempts=3, base_s=0.001, cap_s=0.002)


class ScriptedTool(ToolSource):
    def __init__(
        self, *outcomes: Outcome, do: Do | None = None, name: str = "odd", **fields: Any
    ) -> None:
        fields.setdefault("retry", QUICK)
        self.spec = ToolSpec(ToolSchema(name, "Odd.", SCHEMA), **fields)
        self.outcomes = list(outcomes)
        self.do = do
        self.keys: list[str] = []
        self.calls: list[ToolCall] = []
        self.running = self.most = 0

    def specs(self) -> Mapping[str, ToolSpec]:
        return {self.spec.schema.name: self.spec}

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        self.keys.append(key)
        self.calls.append(call)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.do is not None:
                return await self.do(self)
            outcome = self.outcomes.pop(0) if self.outcomes else Outcome.OK
            return OK if outcome is Outcome.OK else failure(f"it was {outcome}", outcome)
        finally:
            self.running -= 1


async def hang(_: ScriptedTool) -> ToolResult:
    await asyncio.Event().wait()
    return OK


class Gate:
    """Holds every call until it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: ScriptedTool) -> ToolResult:
        self.entered.set()
        await self.opened.wait()
        return OK


async def started(tool: ScriptedTool) -> None:
    """Returns when the tool is running a call."""
    for _ in range(1_000):
        if tool.running:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no call has begun within 5 s")
