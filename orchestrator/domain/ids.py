"""Identifiers that carry their shard: `run_0a_01jd…`, `ses_0a_…`.

A session, its runs, their queue entries and leases share one shard, so one
script can change them together, also in Redis Cluster (hash tag `{s10}`).
"""

from __future__ import annotations

import re
import zlib

from orchestrator.domain.errors import InvalidInput

_ID = re.compile(r"(ses|run)_([0-9a-f]{2})_([0-9a-z]{16,40})")
_AGENT = re.compile(r"([a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?)(?:@([1-9][0-9]{0,8}))?")


def shard_of(tenant: str, key: str, shards: int) -> int:
    """Returns the shard, 0 to `shards` - 1, for a new session or a request id."""
    return zlib.crc32(f"{tenant}\x00{key}".encode()) % shards


def session_id(shard: int, unique: str) -> str:
    return f"ses_{shard:02x}_{unique}"


def run_id(shard: int, unique: str) -> str:
    return f"run_{shard:02x}_{unique}"


def shard_from(identifier: str, *, field: str) -> int:
    """Returns the shard a session or run id carries.

    Raises:
        InvalidInput: it is not such an id.
    """
    match = _ID.fullmatch(identifier)
    if match is None:
        example = "ses_0a_01jd3…" if field == "session_id" else "run_0a_01jd3…"
        raise InvalidInput(
            f"{field} {identifier[:60]!r} is not an id of this service, such as {example!r}",
            field=field,
        )
    return int(match[2], 16)


def parse_agent(reference: str, *, field: str = "agent") -> tuple[str, int | None]:
    """Splits `name` or `name@version`; None is the newest version.

    Raises:
        InvalidInput: it is neither.
    """
    match = _AGENT.fullmatch(reference)
    if match is None:
        raise InvalidInput(
            f"{field} {reference[:80]!r} is not an agent's name: up to 64 of a-z, 0-9, '_', '.', "
            "'-', optionally followed by @version",
            field=field,
        )
    return match[1], int(match[2]) if match[2] else None
