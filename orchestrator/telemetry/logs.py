"""Logging of a service process: one line an event, to standard error."""

from __future__ import annotations

import logging

# Drivers that log addresses with their queries, arguments, answers or the ids of sessions:
# the MCP SDK, whose session logs as "client", and the HTTP client.
_INDISCREET = ("mcp", "client", "httpx2", "httpcore2")


def configure_logging(role: str, level: str) -> None:
    """Sets up the root logger. Prompts, answers and keys are never logged by our code."""
    logging.basicConfig(
        level=level.upper(),
        format=f"%(asctime)s {role} %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # HTTP clients log addresses with their arguments, and headers with their secrets.
    for name in ("asyncio", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
