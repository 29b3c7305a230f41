from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.redis_answers import open_redis_answers
from orchestrator.ports.answers import AnswerCache, AnswerLimits
from orchestrator.redis_server import RedisServer

DATABASE = "/10"  # flushed by each test
Open = Callable[[AnswerLimits], AbstractAsyncContextManager[AnswerCache]]


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    url = redis_server.url.removesuffix("/0") + DATABASE
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


@pytest.fixture(params=["memory", "redis"])
def open_answers(request: pytest.FixtureRequest) -> Open:
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda limits: open_redis_answers(url, limits)

    @asynccontextmanager
    async def in_memory(limits: AnswerLimits) -> AsyncIterator[AnswerCache]:
        yield MemoryAnswers(limits)

    return in_memory


@pytest.fixture
async def answers(open_answers: Open) -> AsyncIterator[AnswerCache]:
    async with open_answers(AnswerLimits()) as opened:
        yield opened
