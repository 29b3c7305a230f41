"""Keeps the logs of SDKs and HTTP clients from telling prompts and keys."""

from __future__ import annotations

import logging

# At level DEBUG Anthropic's SDK logs whole requests, HTTP/2's packages headers with their keys,
# and the HTTP client addresses.
_INDISCREET = ("anthropic", "openai", "httpx2", "httpcore2", "h2", "hpack")


def quieten() -> None:
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.WARNING)
