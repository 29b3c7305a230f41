"""HTTP services as tools, reached only where they may be."""

from orchestrator.adapters.http_tools.declaration import HttpTool, HttpToolError, Place
from orchestrator.adapters.http_tools.network import GuardedTransport, PinnedNetwork, Resolver
from orchestrator.adapters.http_tools.source import HttpTools

__all__ = [
    "GuardedTransport",
    "HttpTool",
    "HttpToolError",
    "HttpTools",
    "PinnedNetwork",
    "Place",
    "Resolver",
]
