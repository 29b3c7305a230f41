"""A proxy before Redis that has a command executed and drops the reply with the connection."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from orchestrator.adapters.redis_state.scripts import script


class Proxy:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 0))
        self._path = parts.path
        self._doomed: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = 0
        self.held = asyncio.Event()  # while clear, replies wait
        self.held.set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_one_reply_of(self, name: str) -> None:
        self._doomed.append(script(name).sha.encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        down, up = await asyncio.open_connection(*self._target)
        replies = asyncio.create_task(self._answer(down, writer))
        try:
            while request := await reader.read(1 << 20):
                up.write(request)
                doomed = next(
                    (sha for sha in self._doomed if b"EVALSHA" in request and sha in request), None
                )
                if doomed:
                    self._doomed.remove(doomed)
                    self.lost += 1
                    replies.cancel()
                    await asyncio.wait([replies])
                    await down.read(1)
                    break
        finally:
            replies.cancel()
            for each in (up, writer):
                each.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await each.wait_closed()

    async def _answer(self, down: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while reply := await down.read(1 << 20):
                await self.held.wait()
                writer.write(reply)
                await writer.drain()
            writer.close()
