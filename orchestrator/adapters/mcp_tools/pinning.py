"""Looking at a server's tools, to pin them."""

from __future__ import annotations

import asyncio

from orchestrator.adapters.mcp_tools.http import OpenHttp
from orchestrator.adapters.mcp_tools.listing import list_all, pinned
from orchestrator.adapters.mcp_tools.pins import PinnedTool
from orchestrator.adapters.mcp_tools.server import McpServer
from orchestrator.adapters.mcp_tools.session import open_link, why_broken
from orchestrator.domain.errors import Unavailable

_LOOK_S = 120.0


async def current_tools(server: McpServer, open_http: OpenHttp) -> list[PinnedTool]:
    """Starts or reaches the server and lists its tools.

    Raises:
        Unavailable: it can't be started or reached, or does not answer.
    """
    try:
        async with asyncio.timeout(_LOOK_S), open_link(server, open_http) as link:
            assert link.client is not None
            return [pinned(tool) for tool in await list_all(link.client)]
    except Exception as error:
        raise Unavailable(f"MCP server {server.name!r}: {why_broken(error)}") from error
