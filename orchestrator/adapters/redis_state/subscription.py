"""One connection that listens to channels, and finds its way back when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

from redis import exceptions as driver
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

QUIET_S = 5.0  # then the connection has to answer a PING
CONNECT_TIMEOUT_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
CHANNELS_AT_ONCE = 500


class Subscription:
    """Calls `on_message(channel, text)`, and `on_ready(channel)` each time one is listened to.

    `on_ready` comes again after a connection was lost: messages may be missing.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[str, str], None],
        on_ready: Callable[[str], None],
    ) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            protocol=2,
        )
        self._on_message = on_message
        self._on_ready = on_ready
        self._channels: set[str] = set()
        self._orders: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, channel: str) -> None:
        """Listens to one more; `on_ready` says when."""
        self._channels.add(channel)
        self._orders.put_nowait(("SUBSCRIBE", channel))
        if not self._tasks:
            self._start(self._run())

    def remove(self, channel: str) -> None:
        self._channels.discard(channel)
        self._orders.put_nowait(("UNSUBSCRIBE", channel))

    async def close(self) -> None:
        """Ends it for good."""
        for task in tuple(self._tasks):
            await _stop(task)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="redis-subscription")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()
                pause = FIRST_PAUSE_S
                await self._listen(connection)
            except (driver.RedisError, OSError):
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(2 * pause, LONGEST_PAUSE_S)
            finally:
                await connection.disconnect()

    async def _listen(self, connection: AbstractConnection) -> None:
        self._orders = asyncio.Queue()
        channels = list(self._channels)
        for start in range(0, len(channels), CHANNELS_AT_ONCE):
            self._orders.put_nowait(("SUBSCRIBE", *channels[start : start + CHANNELS_AT_ONCE]))
        sending = self._start(self._send(connection, self._orders))
        try:
            await self._receive(connection)
        finally:
            self._orders = asyncio.Queue()
            # Before the connection is closed: the driver fails oddly when it sends on a closed one.
            await _stop(sending)

    async def _send(
        self, connection: AbstractConnection, orders: asyncio.Queue[tuple[str, ...]]
    ) -> None:
        with contextlib.suppress(driver.RedisError, OSError):  # the receiver notices too
            while orders is self._orders:
                await connection.send_command(*await orders.get())

    async def _receive(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            reply: Any = await connection.read_response(timeout=QUIET_S)
            if reply is None:
                if asked:
                    raise driver.ConnectionError("the server did not answer a PING")
                asked = True
                self._orders.put_nowait(("PING",))
                continue
            asked = False
            if reply[0] == "message":
                self._on_message(reply[1], reply[2])
            elif reply[0] == "subscribe":
                self._on_ready(reply[1])


async def _stop(task: asyncio.Task[None]) -> None:
    """The driver swallows a cancellation that comes as its send completes: ask until it is done."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    if not task.cancelled():
        task.exception()
