"""A way to a server on which everything takes longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 1 << 16


@asynccontextmanager
async def delayed(target: str, *, by_s: float) -> AsyncIterator[str]:
    """Yields the address that leads to `target`; each answer is `by_s` late."""
    host, _, port = target.rpartition(":")
    carrying: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        down, up = await asyncio.open_connection(host, int(port))
        for way in (_carry(reader, up, 0.0), _carry(down, writer, by_s)):
            task = asyncio.create_task(way)
            carrying.add(task)
            task.add_done_callback(carrying.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(carrying):
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by_s: float) -> None:
    """What came is sent on in order, each piece after its time; they do not add up."""
    loop = asyncio.get_running_loop()
    sent: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def send() -> None:
        while True:
            due, piece = await sent.get()
            await asyncio.sleep(due - loop.time())
            writer.write(piece)
            await writer.drain()
            if not piece:
                return

    sending = asyncio.create_task(send())
    try:
        with suppress(OSError):
            while piece := await reader.read(_CHUNK):
                sent.put_nowait((loop.time() + by_s, piece))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        with suppress(OSError, RuntimeError):
            writer.close()
