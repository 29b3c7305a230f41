"""Metrics of the MCP servers whose tools a toolbox calls."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class McpMetrics:
    """Told by the sessions; the servers' and tools' names come from the settings."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "fleet_mcp_server_up",
            "1 while there is a session with the MCP server",
            ["server"],
            registry=registry,
        )
        self._refused = Counter(
            "fleet_mcp_tools_refused_total",
            "Times a tool of an MCP server was found not to be what was pinned",
            ["server", "tool"],
            registry=registry,
        )

    def connected(self, server: str, *, up: bool) -> None:
        self._up.labels(server).set(int(up))

    def refused(self, server: str, tool: str) -> None:
        self._refused.labels(server, tool).inc()
