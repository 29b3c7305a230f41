from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.redis_server import RedisServer
from tests.orchestrator.rpc.given import Fleet, serving

DATABASE = "/8"  # flushed by each test; the other databases of the server are others'


@pytest.fixture(scope="session", params=["memory", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str | None:
    """Where the state is: None is memory."""
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url.removesuffix("/0") + DATABASE


@pytest.fixture
async def fleet(redis_url: str | None) -> AsyncIterator[Fleet]:
    if redis_url is None:
        async with serving() as running:
            yield running
        return
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    async with serving(open_redis_state(redis_url, shards=4)) as running:
        yield running
