"""Looking at a server's tools, to pin them."""

from __future__ import annotations

import asyncio

from mcp import MCPError

from orchestrator.adapters.mcp_tools.http import OpenHttp
from orchestrator.adapters.mcp_tools.listing import list_all, pinned
from orchestrator.adapters.mcp_tools.pins import PinnedTool
from orchestrator.adapters.mcp_tools.process import StartFailure
from orchestrator.adapters.mcp_tools.server import McpServer
from orchestrator.adapters.mcp_tools.session import open_link
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
    except TimeoutError:
        why = f"it does not answer within {_LOOK_S:g} s"
    except (StartFailure, MCPError) as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 - a driver's error, in whatever form
        why = type(error).__name__
    raise Unavailable(f"MCP server {server.name!r}: {why}")
