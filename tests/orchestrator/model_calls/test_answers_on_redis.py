"""The cache as several processes share it: each with a connection of its own to a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_answers import open_redis_answers
from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.events import CacheHit
from orchestrator.model_calls.answer_keys import answer_key
from orchestrator.redis_server import RedisServer
from tests.orchestrator.model_calls.given_cache import (
    ENTRY,
    caching,
    hit_of,
    request,
    stored,
    text_of,
    until,
)

DATABASE = "/11"  # flushed by each test
ANSWER = [f"word{n} " for n in range(20)]


@pytest.fixture
async def url(redis_server: RedisServer) -> str:
    url = redis_server.url.removesuffix("/0") + DATABASE
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(url, decode_responses=True) as client:
        yield client


async def test_a_thousand_identical_requests_at_once_are_one_call_to_the_engine(url: str) -> None:
    go_on = asyncio.Event()
    engine = ScriptedLanguageModel(lambda _: [*ANSWER[:10], go_on, *ANSWER[10:]])
    async with (
        open_redis_answers(url) as one,
        open_redis_answers(url) as other,
        caching(engine, one) as here,
        caching(engine, other) as there,
    ):
        asking = asyncio.gather(*(hit_of(p, request()) for p in [here, there] * 500))
        await until(lambda: here.in_the_air == there.in_the_air == len(engine.requests) == 1)
        go_on.set()
        assert Counter(await asking) == {None: 1, CacheHit.SHARED: 999}
        assert len(engine.requests) == 1
        assert await hit_of(there, request(tenant="globex")) is None
        assert len(engine.requests) == 2


async def test_tenants_at_once_have_a_call_each(url: str) -> None:
    engine = ScriptedLanguageModel(lambda asked: [f"for {asked.tenant}"])
    tenants = [f"tenant-{n % 10}" for n in range(200)]
    async with open_redis_answers(url) as answers, caching(engine, answers) as cached:
        texts = await asyncio.gather(*(text_of(cached, request(tenant=t)) for t in tenants))
    assert texts == [f"for {tenant}" for tenant in tenants]
    assert sorted(asked.tenant for asked in engine.requests) == sorted(set(tenants))


async def test_an_answer_outlives_the_process_that_got_it(url: str) -> None:
    async with open_redis_answers(url) as answers, caching([["It is 42."]], answers) as cached:
        await text_of(cached, request())
    async with open_redis_answers(url) as answers, caching([], answers) as cached:
        assert await hit_of(cached, request()) is CacheHit.EXACT
        assert await text_of(cached, request()) == "It is 42."


async def test_a_value_under_another_tenants_key_is_given_to_nobody(url: str, redis: Redis) -> None:
    async with open_redis_answers(url) as answers, caching(lambda _: ["mine"], answers) as cached:
        await text_of(cached, request(tenant="acme"))
        await stored(cached)
        theirs = await redis.hgetall("fleet:{answers:acme}:entries")
        (value,) = theirs.values()
        key = answer_key(request(tenant="globex"), ENTRY, "/1")
        await redis.hset("fleet:{answers:globex}:entries", key.digest, value)
        assert await hit_of(cached, request(tenant="globex")) is None


async def test_a_value_that_cannot_be_read_is_replaced(url: str, redis: Redis) -> None:
    async with open_redis_answers(url) as answers, caching(lambda _: ["new"], answers) as cached:
        key = answer_key(request(), ENTRY, "/1")
        await redis.hset("fleet:{answers:acme}:entries", key.digest, f"{1 << 60}:nonsense")
        assert await hit_of(cached, request()) is None
        await stored(cached)
        assert await hit_of(cached, request()) is CacheHit.EXACT


async def test_prompts_are_nowhere_in_redis_and_everything_has_an_end(
    url: str, redis: Redis
) -> None:
    async with open_redis_answers(url) as answers, caching([["It is 42."]], answers) as cached:
        await text_of(cached, request("six times seven?"))
        await stored(cached)
        names = await redis.keys("*")
        assert len(names) == 3
        for name in names:
            assert 0 < await redis.pttl(name) <= 3_600_000
            hashed = await redis.type(name) == "hash"
            whole = await (redis.hgetall(name) if hashed else redis.zrange(name, 0, -1))
            assert "seven" not in str(whole)
            assert "brief" not in str(whole)


async def test_without_redis_there_is_no_cache_and_every_answer_comes() -> None:
    engine = ScriptedLanguageModel(lambda _: ["an answer"])
    async with (
        open_redis_answers("redis://127.0.0.1:1/0") as answers,
        caching(engine, answers) as cached,
    ):
        for _ in range(3):
            assert await text_of(cached, request()) == "an answer"
            await stored(cached)
        assert len(engine.requests) == 3
