"""What is in Redis when every run has ended, and should not be."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.adapters.redis_state import keys
from scripts.chaos_trials.orders import SHARDS

LASTING = {"agent", "agents", "sessions", "runs", "counters", "expiring"}
"""What stays without a time to live: bounded, or cleaned as `expiring` says."""


async def leftovers(url: str) -> list[str]:
    """Returns a sentence for every key that neither lasts nor expires.

    By that rule a key of a kind that is new is found too.
    """
    client = cast(Any, Redis.from_url(url, decode_responses=True))
    found: list[str] = []
    prefixes = [keys.shard_prefix(shard) for shard in range(SHARDS)]
    try:
        names = [name async for name in client.scan_iter(match="fleet:*", count=1000)]
        for start in range(0, len(names), 1000):
            batch = names[start : start + 1000]
            pipe = client.pipeline(transaction=False)
            for name in batch:
                pipe.pttl(name)
            lives = await pipe.execute()
            for name, left_ms in zip(batch, lives, strict=True):
                prefix = next((p for p in prefixes if name.startswith(p)), None)
                kind = name.removeprefix(prefix).partition(":")[0] if prefix else ""
                if prefix is not None and left_ms == -1 and kind not in LASTING:
                    found.append(f"{name} has {await _content(client, name)}")
    finally:
        await client.aclose()
    return found


async def _content(client: Any, name: str) -> str:
    match await client.type(name):
        case "hash":
            some = await client.hkeys(name)
        case "zset":
            some = await client.zrange(name, 0, 3)
        case "set":
            some = list(await client.smembers(name))
        case "list":
            some = await client.lrange(name, 0, 3)
        case other:
            return str(other)
    return ", ".join(repr(each) for each in some[:3])
