"""Answers in Redis 7 or Valkey, shared by all processes. See docs/cache.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.adapters.redis_answers.answers import RedisAnswers
from orchestrator.adapters.redis_state.address import parse
from orchestrator.adapters.redis_state.connection import Client
from orchestrator.ports.answers import AnswerCache, AnswerLimits


@asynccontextmanager
async def open_redis_answers(
    url: str, limits: AnswerLimits = AnswerLimits()
) -> AsyncIterator[AnswerCache]:
    """Answers at `redis://…`, over a connection of their own: a long one holds up nothing else.

    It opens in any case; a server that is away is tried again when somebody asks.
    """
    client = Client(parse(url))
    try:
        yield RedisAnswers(client, limits)
    finally:
        await client.close()
