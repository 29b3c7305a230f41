"""Tools of MCP servers, through the official SDK, on stdio and streamable HTTP."""

from orchestrator.adapters.mcp_tools.observer import McpObserver
from orchestrator.adapters.mcp_tools.pins import PinnedTool, read_pins, write_pins
from orchestrator.adapters.mcp_tools.server import HttpEndpoint, McpServer, StdioEndpoint
from orchestrator.adapters.mcp_tools.source import McpTools

__all__ = [
    "HttpEndpoint",
    "McpObserver",
    "McpServer",
    "McpTools",
    "PinnedTool",
    "StdioEndpoint",
    "read_pins",
    "write_pins",
]
