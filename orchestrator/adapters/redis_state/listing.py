"""Listings, newest first, over a sorted set of ids in each shard."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.redis_state.database import Database

_ABOVE_ALL = "~"  # ids end in digits and lower-case letters


async def newest_first(
    database: Database, indexes: Sequence[tuple[str, str]], *, before: str, limit: int
) -> tuple[list[str], str]:
    """Returns up to `limit` ids and the position after them, empty at the end.

    An index is a sorted set and the prefix its ids share. A position is the
    unique part of an id, which sorts by time across the shards.
    """
    part = ("BYLEX", "REV", "LIMIT", 0, limit + 1)
    replies = await database.ask(
        [
            ("ZRANGE", index, f"({prefix}{before or _ABOVE_ALL}", f"[{prefix}", *part)
            for index, prefix in indexes
        ]
    )
    found = sorted((i for reply in replies for i in reply), key=age, reverse=True)
    return found[:limit], age(found[limit - 1]) if len(found) > limit else ""


def age(identifier: str) -> str:
    """The part of an id that sorts by the time it was made."""
    return identifier.rpartition("_")[2]
