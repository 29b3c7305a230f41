"""State in Redis 7 or Valkey: durable, shared by any number of processes. See docs/state.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.adapters.redis_state.address import parse
from orchestrator.adapters.redis_state.agents import RedisAgentStore
from orchestrator.adapters.redis_state.connection import Client
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.dead_letters import RedisDeadLetters
from orchestrator.adapters.redis_state.feed import RedisEventFeed
from orchestrator.adapters.redis_state.ledger import RedisLedger
from orchestrator.adapters.redis_state.runs import RedisRunStore
from orchestrator.adapters.redis_state.sessions import RedisSessionStore
from orchestrator.adapters.redis_state.signals import Signals
from orchestrator.adapters.redis_state.unique import UniqueIds
from orchestrator.ports.state import Limits, State


@asynccontextmanager
async def open_redis_state(
    url: str, *, shards: int = 1, limits: Limits | None = None
) -> AsyncIterator[State]:
    """Opens the state at `redis://…`. All processes use the same number of shards, up to 256.

    Raises:
        Unavailable: STORE_UNAVAILABLE.
        FailedPrecondition: the server is too old, or holds another number of shards.
    """
    if not 1 <= shards <= 256:
        raise ValueError(f"shards must be 1 to 256, not {shards}")
    client = Client(parse(url))
    database = Database(client=client, url=url, shards=shards, limits=limits or Limits())
    signals, feed = Signals(url), RedisEventFeed(database)
    unique = UniqueIds()
    try:
        await database.check()
        await database.load()
        yield State(
            agents=RedisAgentStore(database),
            sessions=RedisSessionStore(database, unique),
            runs=RedisRunStore(database, signals, unique),
            feed=feed,
            dead_letters=RedisDeadLetters(database),
            ledger=RedisLedger(database),
        )
    finally:
        await feed.close()
        await signals.close()
        await client.close()
