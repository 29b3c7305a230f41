"""Listings in parts: tokens that fit their listing only, pages that fit a message."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.api.limits import PAGE_BYTES
from orchestrator.domain.base import Value
from orchestrator.domain.errors import InvalidInput
from orchestrator.ports.state import Page

ValueT = TypeVar("ValueT", bound=Value)

_CHECK_BYTES = 6
_TOKEN_CHARACTERS = 1024


def seal(scope: str, token: str) -> str:
    """Returns the store's token as the caller gets it; the end of a listing stays empty."""
    if not token:
        return ""
    return base64.urlsafe_b64encode(_check(scope, token) + token.encode()).decode().rstrip("=")


def unseal(scope: str, sealed: str) -> str:
    """Returns the store's token.

    Raises:
        InvalidInput: it is damaged or belongs to another listing.
    """
    if not sealed:
        return ""
    check, token = _parts(sealed)
    if check != _check(scope, token):
        raise InvalidInput(
            f"page_token {sealed[:60]!r} is not one that this listing returned",
            field="page_token",
            reason="INVALID_PAGE_TOKEN",
        )
    return token


def _parts(sealed: str) -> tuple[bytes, str]:
    """Splits a token; one that can't be read gives parts that fit nothing."""
    try:
        padded = sealed[:_TOKEN_CHARACTERS] + "=" * (-len(sealed) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        return raw[:_CHECK_BYTES], raw[_CHECK_BYTES:].decode()
    except (ValueError, binascii.Error):
        return b"", ""


async def within_a_message(
    fetch: Callable[[int], Awaitable[Page[ValueT]]], limit: int
) -> Page[ValueT]:
    """Fetches a page of at most `limit` items that is small enough for one message."""
    page = await fetch(limit)
    fit = how_many_fit(page.items)
    return page if fit == len(page.items) else await fetch(fit)


def how_many_fit(items: tuple[Value, ...]) -> int:
    """Returns how many of the first items stay within PAGE_BYTES; at least one, if any."""
    room = PAGE_BYTES
    for i, item in enumerate(items):
        room -= len(item.model_dump_json())
        if room < 0:
            return max(i, 1)
    return len(items)


def _check(scope: str, token: str) -> bytes:
    return hashlib.blake2b(f"{scope}\x00{token}".encode(), digest_size=_CHECK_BYTES).digest()
