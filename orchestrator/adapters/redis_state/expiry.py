"""Takes what has outlived its time to live out of the listings."""

from __future__ import annotations

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.database import Call, Database
from orchestrator.adapters.redis_state.sessions import purging

AT_ONCE = 200


async def drop_expired(database: Database) -> None:
    """Redis drops the keys by itself; their ids are what is left."""
    now_ms = await database.now_ms()
    replies = await database.ask(
        [
            ("ZRANGE", keys.expiring(shard), "-inf", now_ms, "BYSCORE", "LIMIT", 0, AT_ONCE)
            for shard in range(database.shards)
        ]
    )
    await database.call_each(
        [_dropping(shard, entry) for shard, entries in enumerate(replies) for entry in entries]
    )


def _dropping(shard: int, entry: str) -> Call:
    kind, tenant, session_id, *run_ids = entry.split("\0")
    if kind == "run":
        return purging(shard, tenant, session_id, run_ids)
    session, _ = keys.session(shard, tenant, session_id)
    return (
        "expire_session",
        [session, keys.sessions(shard, tenant), keys.expiring(shard)],
        [tenant, session_id],
    )
