"""What is in Redis when every run has ended, and should not be."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.adapters.redis_state import keys

LASTING = {"agent", "agents", "sessions", "runs", "tenants", "counters", "expiring"}
"""What stays without a time to live: bounded, or cleaned as `expiring` says."""

NOW = ("running\0", "live\0")
"""Fields of `counters` that say what is under way."""


async def leftovers(url: str, shards: int) -> list[str]:
    """Returns a sentence for every key that neither lasts nor expires, and every live count.

    By that rule a key of a kind that is new is found too.
    """
    client = cast(Any, Redis.from_url(url, decode_responses=True))
    found: list[str] = []
    prefixes = [keys.shard_prefix(shard) for shard in range(shards)]
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
                if kind == "counters":
                    found += await _counts(client, name)
    finally:
        await client.aclose()
    return found


async def _counts(client: Any, name: str) -> list[str]:
    counts = await client.hgetall(name)
    return [f"{name} counts {field!r}: {n}" for field, n in counts.items() if field.startswith(NOW)]


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
