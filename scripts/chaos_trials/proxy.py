"""A proxy before Redis that delays, cuts and resets, and loses replies of what was executed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from scripts.chaos_trials.reports import HOST

_CHUNK = 1 << 20
_LINGER_NOT = struct.pack("ii", 1, 0)  # close sends RST
FAULTS = {
    "delay": 50,
    "stall": 1,  # beyond the time that a client waits for a reply
    "cut before": 12,
    "cut in the request": 8,
    "reset": 12,
    "reply lost": 12,
    "cut in the reply": 5,
}
STALL_S = 7.0


class Cut(Exception):
    """The connection ends here."""


class Proxy:
    """Between its `url` and the server's; a `share` of the calls meets a fault.

    A call is what the client writes at once: a command, or a pipeline.
    """

    def __init__(self, url: str, rng: random.Random, share: float) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 0))
        self._path = parts.path
        self._rng = rng
        self._share = share
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = 0
        self.faults: Counter[str] = Counter()
        self.url = ""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://{HOST}:{port}{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heal(self) -> None:
        """No faults from now on."""
        self._share = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            down, up = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        line = _Line(reader, writer, down, up, self._draw)
        with contextlib.suppress(OSError, Cut, asyncio.CancelledError):
            await line.carry()
        line.close()

    def _draw(self) -> str:
        self.calls += 1
        if self._rng.random() >= self._share:
            return ""
        fault = self._rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        self.faults[fault] += 1
        return fault


class _Line:
    """One connection of a client, and its connection to the server."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        down: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        draw: Callable[[], str],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._down, self._up = down, up
        self._draw = draw
        self._fault = ""  # of the call whose reply is awaited

    async def carry(self) -> None:
        ways: list[Awaitable[None]] = [self._requests(), self._replies()]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def close(self) -> None:
        for each in (self._up, self._writer):
            with contextlib.suppress(OSError, RuntimeError):
                each.close()

    async def _requests(self) -> None:
        while request := await self._reader.read(_CHUNK):
            self._fault = fault = self._draw() if request.startswith(b"*") else ""
            match fault:
                case "cut before":
                    raise Cut
                case "reset":
                    self._reset()
                case "cut in the request":
                    self._up.write(request[: len(request) // 2])
                    await self._up.drain()
                    raise Cut
            self._up.write(request)
            await self._up.drain()

    async def _replies(self) -> None:
        while reply := await self._down.read(_CHUNK):
            fault, self._fault = self._fault, ""
            match fault:
                case "reply lost":
                    raise Cut
                case "cut in the reply":
                    self._writer.write(reply[: len(reply) // 2])
                    await self._writer.drain()
                    raise Cut
                case "delay":
                    await asyncio.sleep(0.02 + len(reply) % 10 * 0.03)
                case "stall":
                    await asyncio.sleep(STALL_S)
            self._writer.write(reply)
            await self._writer.drain()

    def _reset(self) -> None:
        line: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        raise Cut
