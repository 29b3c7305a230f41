"""Commands to one Redis over one connection: sent together, answered in order.

What callers ask for within one turn of the event loop leaves in one write. The server
answers in the order of the commands, so a reply belongs to the oldest that waits; one that
its caller gave up on still takes its reply, and no other caller can get it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis

from orchestrator.adapters.redis_state.address import Address

CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 5.0
Reply = Any  # text, a number, None, a Refusal, or lists of them
Command = tuple[str | int | float, ...]


class Refusal(Exception):
    """An error that the server replied with. `code` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class ConnectionLostError(OSError):
    """What was sent may or may not have been done."""


class Client:
    """Keeps one connection, made again when it is needed and gone."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._closed = False

    async def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Returns the reply to each; one that the server refused is a `Refusal`.

        Raises:
            OSError: the server can't be reached, or was lost before it answered.
        """
        connection = self._connection
        if self._closed:
            raise ConnectionLostError("the state is closed")
        if connection is None or connection.lost:
            connection = await self._connect()
        return await connection.send(commands)

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> _Connection:
        """Connects once for all who wait; one of them that gives up does not end it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open(), name="redis-connect")
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)

    def _connected(self, opened: asyncio.Task[_Connection]) -> None:
        self._connecting = None
        if not opened.cancelled() and opened.exception() is None:
            self._connection = opened.result()

    async def _open(self) -> _Connection:
        address = self._address
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if address.path:
                _, connection = await loop.create_unix_connection(_Connection, address.path)
            else:
                _, connection = await loop.create_connection(
                    _Connection, address.host, address.port, ssl=address.ssl
                )
            try:
                _check(await connection.send(address.greeting))
            except BaseException:
                connection.close()
                raise
        return connection


def _check(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, Refusal):
            raise reply


class _Waiting:
    """Commands that were sent together, and the replies that have come."""

    __slots__ = ("count", "future", "replies", "since")

    def __init__(self, count: int, future: asyncio.Future[list[Reply]], since: float) -> None:
        self.count = count
        self.future = future
        self.since = since
        self.replies: list[Reply] = []


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(encoding="utf-8", replyError=Refusal)
        self._waiting: deque[_Waiting] = deque()
        self._outgoing: list[bytes] = []
        self._watching: asyncio.TimerHandle | None = None
        self.lost = False

    async def send(self, commands: Sequence[Command]) -> list[Reply]:
        if not commands:
            return []
        if self.lost:
            raise ConnectionLostError("the connection is closed")
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += packed
        waiting = _Waiting(len(commands), self._loop.create_future(), self._loop.time())
        self._waiting.append(waiting)
        if self._watching is None:
            self._watching = self._loop.call_later(REPLY_TIMEOUT_S, self._watch)
        return await waiting.future

    def close(self) -> None:
        self._transport.close()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except (hiredis.ProtocolError, IndexError):  # not a Redis, or not in step with us
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        if self._watching is not None:
            self._watching.cancel()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.future.done():
                each.future.set_exception(ConnectionLostError("the connection was lost"))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not self.lost:
            self._transport.write(b"".join(outgoing))

    def _take(self, reply: Reply) -> None:
        oldest = self._waiting[0]
        oldest.replies.append(reply)
        if len(oldest.replies) == oldest.count:
            self._waiting.popleft()
            if not oldest.future.done():
                oldest.future.set_result(oldest.replies)

    def _watch(self) -> None:
        """Gives a server up that owes a reply for too long: what comes later is not ours."""
        self._watching = None
        if not self._waiting:
            return
        left = self._waiting[0].since + REPLY_TIMEOUT_S - self._loop.time()
        if left <= 0:
            self._transport.abort()
        else:
            self._watching = self._loop.call_later(left, self._watch)
