from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.ports.state import Limits, State
from orchestrator.redis_server import RedisServer

DATABASE = "/9"  # flushed by each test; the other databases of the server are others'
Open = Callable[[Limits], AbstractAsyncContextManager[State]]


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    """An empty database."""
    url = redis_server.url.removesuffix("/0") + DATABASE
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


@pytest.fixture(params=["memory", "redis"])
def open_state(request: pytest.FixtureRequest) -> Open:
    """Opens an empty state of one adapter. One shard, in which fairness and limits hold."""
    if request.param == "memory":
        return lambda limits: open_memory_state(limits=limits)
    url = request.getfixturevalue("redis_url")
    return lambda limits: open_redis_state(url, shards=1, limits=limits)


@pytest.fixture
async def state(open_state: Open) -> AsyncIterator[State]:
    async with open_state(Limits()) as state:
        yield state
