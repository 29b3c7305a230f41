"""What a server offers."""

from __future__ import annotations

import mcp_types
from mcp import Client

from orchestrator.adapters.mcp_tools.pins import PinnedTool, digest

_MAX_PAGES = 100
_MAX_TOOLS = 2_000


async def list_all(client: Client) -> list[mcp_types.Tool]:
    """At most `_MAX_TOOLS`, in the server's order."""
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) >= _MAX_TOOLS:
            break
    return tools[:_MAX_TOOLS]


def tool_digest(tool: mcp_types.Tool) -> str:
    return digest(tool.name, tool.description or "", tool.input_schema)


def pinned(tool: mcp_types.Tool) -> PinnedTool:
    hints = tool.annotations or mcp_types.ToolAnnotations()
    return PinnedTool(
        name=tool.name,
        description=tool.description or "",
        input_schema=tool.input_schema,
        read_only_hint=bool(hints.read_only_hint),
        idempotent_hint=bool(hints.idempotent_hint),
    )
