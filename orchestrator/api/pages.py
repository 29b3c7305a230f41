"""Pages that fit a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.api.limits import PAGE_BYTES
from orchestrator.domain.base import Value
from orchestrator.ports.state import Page

ValueT = TypeVar("ValueT", bound=Value)


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
        room -= len(item.model_dump_json().encode())
        if room < 0:
            return max(i, 1)
    return len(items)
