"""Answers what a run asks of its caller: the caller's own tools, approvals, anything else."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.rpc.pb.fleet.v1 import runs_pb2, sessions_pb2

Answer = runs_pb2.Approval | runs_pb2.ToolResult | runs_pb2.Reply
Tool = Callable[..., Any]
Approve = Callable[[runs_pb2.Interrupted], "bool | Awaitable[bool]"]
OnInterrupt = Callable[[runs_pb2.Interrupted], Awaitable["Answer | None"]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Who answers what. What nobody answers is left to others, or to its time limit.

    `tools` are called with the arguments by name, plain functions in a thread; what they
    return is the result (text as it is, anything else as JSON), what they raise an error
    that the model is shown. `approve` decides approvals. `on_interrupt` is asked for all
    that the two don't cover, and may return None.
    """

    tools: Mapping[str, Tool] = field(default_factory=dict)
    approve: Approve | None = None
    on_interrupt: OnInterrupt | None = None

    def covers(self, interrupt: runs_pb2.Interrupted) -> bool:
        if self.on_interrupt is not None:
            return True
        if interrupt.kind == runs_pb2.INTERRUPT_KIND_APPROVAL:
            return self.approve is not None
        return self._tool(interrupt) is not None

    async def answer(self, interrupt: runs_pb2.Interrupted) -> Answer | None:
        tool = self._tool(interrupt)
        if tool is not None:
            return await run_tool(tool, interrupt.call)
        if interrupt.kind == runs_pb2.INTERRUPT_KIND_APPROVAL and self.approve is not None:
            decided = self.approve(interrupt)
            approved = await decided if inspect.isawaitable(decided) else decided
            return runs_pb2.Approval(approved=bool(approved))
        return await self.on_interrupt(interrupt) if self.on_interrupt else None

    def _tool(self, interrupt: runs_pb2.Interrupted) -> Tool | None:
        if interrupt.kind != runs_pb2.INTERRUPT_KIND_CLIENT_TOOL:
            return None
        return self.tools.get(interrupt.call.name)


async def run_tool(tool: Tool, call: sessions_pb2.ToolCall) -> runs_pb2.ToolResult:
    """Calls the function; whatever it raises is a result that the model can read."""
    try:
        arguments = json.loads(call.arguments_json)
        if inspect.iscoroutinefunction(tool):
            result = await tool(**arguments)
        else:
            result = await asyncio.to_thread(tool, **arguments)
            if inspect.isawaitable(result):
                result = await result
        text = result if isinstance(result, str) and result.strip() else json.dumps(result)
    except Exception as error:  # noqa: BLE001 - the caller's code: the model is told
        said = json.dumps({"error": f"{type(error).__name__}: {error}"})
        return runs_pb2.ToolResult(content=said, is_error=True)
    return runs_pb2.ToolResult(content=text)
