"""Page tokens: a position in one listing of one tenant, opaque to the caller."""

from __future__ import annotations

import base64
import binascii
import json
import zlib

from orchestrator.domain.errors import InvalidInput


def encode(listing: str, tenant: str, position: str) -> str:
    """Returns the token of `position`; an empty position has the empty token."""
    if not position:
        return ""
    text = json.dumps([_mark(listing, tenant), position])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(listing: str, tenant: str, token: str) -> str:
    """Returns the position in a token.

    Raises:
        InvalidInput: it is not a token of this listing and tenant.
    """
    if not token:
        return ""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        mark, position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise _wrong(token) from error
    if mark != _mark(listing, tenant) or not isinstance(position, str):
        raise _wrong(token)
    return position


def _mark(listing: str, tenant: str) -> int:
    return zlib.crc32(f"{listing}\x00{tenant}".encode())


def _wrong(token: str) -> InvalidInput:
    return InvalidInput(
        f"page_token {token[:40]!r} is not one that this listing returned as next_page_token",
        field="page_token",
    )
