"""Takes what has outlived its time to live out of the listings."""

from __future__ import annotations

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.sessions import purge_runs

AT_ONCE = 100


async def drop_expired(database: Database) -> None:
    """Redis drops the keys by itself; their ids are what is left."""
    ((seconds, micros),) = await database.ask([("TIME",)])
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    replies = await database.ask(
        [
            ("ZRANGE", keys.expiring(shard), "-inf", now_ms, "BYSCORE", "LIMIT", 0, AT_ONCE)
            for shard in range(database.shards)
        ]
    )
    for shard, entries in enumerate(replies):
        for entry in entries:
            kind, tenant, session_id, *run_ids = entry.split("\0")
            if kind == "run":
                await purge_runs(database, shard, tenant, session_id, run_ids)
                continue
            session, _ = keys.session(shard, tenant, session_id)
            await database.call(
                "expire_session",
                [session, keys.sessions(shard, tenant), keys.expiring(shard)],
                [tenant, session_id],
            )
