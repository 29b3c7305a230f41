"""Which tools of which servers a model is shown, and under what names."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.adapters.mcp_tools.pins import PinnedTool, read_pins
from orchestrator.adapters.mcp_tools.server import McpServer
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.errors import AlreadyExists
from orchestrator.domain.tools import Effect, ToolSpec

MAX_NAME_CHARS = 64  # what OpenAI and Anthropic accept

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    server: McpServer
    pinned: PinnedTool
    spec: ToolSpec


def offered_tools(servers: Iterable[McpServer]) -> dict[str, OfferedTool]:
    """The pinned tools of all servers, by the names that models see.

    Raises:
        AlreadyExists: two tools would have the same name.
        InvalidInput: a file of pinned schemas can't be read.
    """
    offered: dict[str, OfferedTool] = {}
    for server in servers:
        for pinned in _pinned(server):
            name = visible_name(server.name, pinned.name)
            if name in offered:
                other = offered[name]
                raise AlreadyExists(
                    f"{pinned.name!r} of the MCP server {server.name!r} and {other.pinned.name!r} "
                    f"of {other.server.name!r} would both be the tool {name!r}: rename a server, "
                    "or leave one tool out of its `tools`"
                )
            offered[name] = OfferedTool(server, pinned, _spec(name, server, pinned))
    return offered


def visible_name(server: str, tool: str) -> str:
    """`SERVER_tool`, in the characters that every provider takes; a long one ends in a digest."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")
    if len(name) <= MAX_NAME_CHARS:
        return name
    tail = hashlib.sha256(f"{server}/{tool}".encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_CHARS - 9]}_{tail}"


def _pinned(server: McpServer) -> Iterable[PinnedTool]:
    if not server.pins:
        _log.warning(
            "MCP server %s: none of its tools is pinned, so none is offered; "
            "`fleet tools pin %s` lists them",
            server.name,
            server.name,
        )
        return
    known = read_pins(server.schema_file)
    for name, pin in server.pins.items():
        tool = known.get(pin)
        if tool is not None and tool.name == name:
            yield tool
            continue
        _log.warning(
            "MCP server %s: tool %s is not offered, since %s has no schema of it with the digest "
            "%s; `fleet tools pin %s` writes those of today",
            server.name,
            name,
            server.schema_file,
            pin,
            server.name,
        )


def _spec(name: str, server: McpServer, pinned: PinnedTool) -> ToolSpec:
    return ToolSpec(
        schema=ToolSchema(name, pinned.description, dict(pinned.input_schema)),
        effect=_effect(server, pinned),
        timeout_s=server.timeout_s,
        concurrency=server.concurrency,
        retry=server.retry,
        needs_approval=server.needs_approval,
        kind=f"mcp:{server.name}",
    )


def _effect(server: McpServer, pinned: PinnedTool) -> Effect:
    if server.trust_annotations and pinned.read_only_hint:
        return Effect.PURE
    if server.trust_annotations and pinned.idempotent_hint:
        return Effect.IDEMPOTENT
    return server.effect
