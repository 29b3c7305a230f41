"""The tools of MCP servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator.adapters.mcp_tools.catalogue import offered_tools
from orchestrator.adapters.mcp_tools.observer import McpObserver, Unobserved
from orchestrator.adapters.mcp_tools.server import McpServer
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec, failure
from orchestrator.ports.tools import ToolSource

if TYPE_CHECKING:
    from orchestrator.adapters.mcp_tools.http import OpenHttp
    from orchestrator.adapters.mcp_tools.session import Patience, ServerSession


class McpTools(ToolSource):
    """Offers what was pinned, whether its servers run or not; calls need `connected`."""

    def __init__(
        self, servers: Iterable[McpServer], *, observer: McpObserver | None = None
    ) -> None:
        """
        Raises:
            AlreadyExists: two tools would have the same name.
            InvalidInput: a file of pinned schemas can't be read.
        """
        self._servers = tuple(servers)
        self._offered = offered_tools(self._servers)
        self._specs = {name: tool.spec for name, tool in self._offered.items()}
        self._observer = observer or Unobserved()
        self._sessions: Mapping[str, ServerSession] = {}

    def specs(self) -> Mapping[str, ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        tool = self._offered.get(call.name)
        if tool is None:
            return failure(f"there is no tool {call.name[:64]!r}")
        session = self._sessions.get(tool.server.name)
        if session is None:
            return failure("this process has no sessions with MCP servers", Outcome.TRANSIENT)
        arguments = json.loads(call.arguments_json)
        return await session.call(tool.pinned.name, arguments, key=key, timeout_s=timeout_s)

    @asynccontextmanager
    async def connected(
        self, open_http: OpenHttp, *, patience: Patience | None = None
    ) -> AsyncIterator[None]:
        """Keeps a session with each server that offers a tool; one that is down stops nothing."""
        # The SDK takes 60 MB and most of a second: processes that only show tools go without.
        from orchestrator.adapters.mcp_tools.session import (  # noqa: PLC0415
            Patience,
            ServerSession,
        )

        pins: dict[str, dict[str, str]] = {}
        for tool in self._offered.values():
            pins.setdefault(tool.server.name, {})[tool.pinned.name] = tool.pinned.digest
        self._sessions = {
            server.name: ServerSession(
                server, pins[server.name], open_http, self._observer, patience or Patience()
            )
            for server in self._servers
            if server.name in pins
        }
        running = [asyncio.create_task(session.run()) for session in self._sessions.values()]
        try:
            yield
        finally:
            self._sessions = {}
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
