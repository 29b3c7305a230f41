"""The connection pool, the running of scripts, and the translation of Redis's errors."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions as driver
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.scripts import every_script, script
from orchestrator.domain.errors import FailedPrecondition, Internal, Unavailable
from orchestrator.ports.state import Limits

T = TypeVar("T")
Reply = Any  # what a script returns: text, or lists of it
Call = tuple[str, Sequence[str], Sequence[str | int]]  # a script's name, KEYS, ARGV

POOL_SIZE = 64
REPLY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
PATIENCE_S = 5.0  # a restart of the server on the same machine fits in
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5
OLDEST_SERVER = (7, 0)
_REFUSALS = ("MISCONF", "NOREPLICAS")
_PASSING = (
    OSError,
    driver.ConnectionError,
    driver.TimeoutError,
    driver.ClusterDownError,
    driver.MasterDownError,
    driver.ReadOnlyError,  # a fail-over is under way
    driver.TryAgainError,
)


@dataclass(frozen=True)
class Database:
    """Everything an operation needs. Every operation may be repeated when a reply is lost."""

    redis: Redis
    url: str
    shards: int
    limits: Limits

    async def call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        """Runs a script."""
        sha = script(name).sha

        async def once() -> Reply:
            return await self._send("EVALSHA", sha, len(keys), *keys, *args)

        return await self.attempt(once)

    async def _send(self, *command: str | int) -> Reply:
        return await self.redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def call_each(self, calls: Sequence[Call]) -> list[Reply]:
        """Runs scripts in one round trip."""
        if len(calls) == 1:
            return [await self.call(*calls[0])]

        async def once() -> list[Reply]:
            async with self.redis.pipeline(transaction=False) as pipe:
                for name, names, args in calls:
                    pipe.execute_command("EVALSHA", script(name).sha, len(names), *names, *args)
                return await pipe.execute()

        return await self.attempt(once) if calls else []

    async def ask(self, commands: Sequence[tuple[str | int, ...]]) -> list[Reply]:
        """Sends commands that only read, in one round trip."""

        async def once() -> list[Reply]:
            if len(commands) == 1:
                return [await self._send(*commands[0])]
            async with self.redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return await pipe.execute()

        return await self.attempt(once) if commands else []

    async def put_if_new(self, key: str, value: str, *, ttl_s: int | None = None) -> str | None:
        """Returns the value that was there before, which stays."""

        async def once() -> Any:
            return await self.redis.set(key, value, nx=True, get=True, ex=ttl_s)

        before = await self.attempt(once)
        return None if before is None else str(before)

    async def attempt(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Does a repeatable operation, again when the connection fails, for `PATIENCE_S`.

        Raises:
            Unavailable: STORE_UNAVAILABLE.
        """
        until = time.monotonic() + PATIENCE_S
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    return await operation()
            except driver.NoScriptError:
                await self.load()
            except _PASSING as error:
                if time.monotonic() + pause > until:
                    raise Unavailable(
                        "the state store does not answer", reason="STORE_UNAVAILABLE"
                    ) from error
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except driver.ResponseError as error:
                raise _translated(error) from error

    async def load(self) -> None:
        """Gives the server every script."""

        async def once() -> None:
            async with self.redis.pipeline(transaction=False) as pipe:
                for each in every_script():
                    pipe.execute_command("SCRIPT LOAD", each.source)
                await pipe.execute()

        await self.attempt(once)

    async def check(self) -> None:
        """Checks the server's version and that others use as many shards.

        Raises:
            FailedPrecondition: it is too old, or another number is in use.
        """
        (info,) = await self.ask([("INFO", "server")])
        version = str(info["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise FailedPrecondition(f"the Redis server is {version}; it must be 7.0 or newer")
        before = await self.put_if_new(keys.LAYOUT, str(self.shards))
        if before not in (None, str(self.shards)):
            raise FailedPrecondition(
                f"this Redis holds a state of {before} shards; the setting says {self.shards}"
            )

    @property
    def queue_args(self) -> tuple[str | int, str]:
        """ARGV[1..2] of the scripts that need `_queue`; the shard follows."""
        weights = dict(self.limits.weights)
        return self.limits.running_items, json.dumps(weights) if weights else ""


def _translated(error: driver.ResponseError) -> Exception:
    text = str(error)
    if isinstance(error, driver.OutOfMemoryError) or text.startswith(_REFUSALS):
        return Unavailable(
            f"the state store takes no writes now: {text[:200]}", reason="STORE_UNAVAILABLE"
        )
    return Internal(f"the state store refused an operation: {text[:200]}")


def connect(url: str) -> Redis:
    """Makes a client whose retries are ours: only we know what may be repeated."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_SIZE,
        timeout=REPLY_TIMEOUT_S,
        # Not the driver's timeouts: its wait_for loses cancellations on Python 3.11.
        socket_timeout=None,
        socket_keepalive=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
    )
    return Redis.from_pool(pool)
