"""What must be known of an MCP server to use its tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain.tools import Effect, ToolRetry


@dataclass(frozen=True, slots=True)
class StdioEndpoint:
    """A program that speaks MCP on its standard input and output.

    It gets PATH, HOME and LANG of ours and `env`, and nothing else of our environment.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A server that speaks streamable HTTP."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class McpServer:
    """`pins` holds the digest (`sha256:…`) of each tool that may be used, by the server's name
    for it; the schemas they stand for are in `schema_file`. `effect` is that of its tools,
    unless `trust_annotations` lets the server's own hints say better. The rest is as in
    `ToolSpec`, for each of its tools."""

    name: str
    endpoint: StdioEndpoint | HttpEndpoint
    schema_file: Path
    pins: Mapping[str, str] = field(default_factory=dict)
    effect: Effect = Effect.AT_MOST_ONCE
    trust_annotations: bool = False
    timeout_s: float = 30.0
    concurrency: int = 0
    retry: ToolRetry = ToolRetry()
    needs_approval: bool = False
