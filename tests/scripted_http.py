"""An HTTP/1.1 server that plays a script, byte for byte, and counts its connections.

async with ScriptedServer([Reply(parts=[event({"a": 1}), Ends.CUT])]) as server: …
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self


class Ends(Enum):
    """CUT: the connection ends in the middle of the answer. RESET: it is torn down."""

    CUT = "cut"
    RESET = "reset"


Part = bytes | asyncio.Event | Ends
"""Bytes are one chunk of the answer; an event is waited for."""


@dataclass(frozen=True)
class Reply:
    parts: Sequence[Part] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    before: asyncio.Event | Ends | None = None  # instead of, or ahead of, the status line


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed


class ScriptedServer:
    """Replies in order, or as a function says; the last reply of a list goes on for ever.

    `accepted` counts connections ever made, `left` the answers whose client left before the
    end, and `at_once` is the most answers that were open at the same time.
    """

    def __init__(self, script: Iterable[Reply] | Callable[[Received], Reply]) -> None:
        self._reply_to = script if callable(script) else _in_order(list(script))
        self.requests: list[Received] = []
        self.accepted = 0
        self.left = 0
        self.client_left = asyncio.Event()
        self.at_once = 0
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    received = await _receive(reader)
                    self.requests.append(received)
                    self._open += 1
                    self.at_once = max(self.at_once, self._open)
                    try:
                        whole = await self._play(self._reply_to(received), reader, writer)
                    finally:
                        self._open -= 1
                    if not whole:
                        return
        finally:
            writer.close()

    async def _play(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if reply.before is not None and not await self._cue(reply.before, reader, writer):
            return False
        head = {"content-type": reply.content_type, "transfer-encoding": "chunked"}
        lines = [f"{name}: {value}" for name, value in {**head, **reply.headers}.items()]
        status = f"HTTP/1.1 {reply.status} Scripted"
        writer.write("\r\n".join([status, *lines, "", ""]).encode())
        for part in reply.parts:
            if isinstance(part, bytes):
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                await writer.drain()
            elif not await self._cue(part, reader, writer):
                return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _cue(
        self,
        cue: asyncio.Event | Ends,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Says whether the answer goes on."""
        if cue is Ends.RESET:
            writer.transport.abort()
        if isinstance(cue, Ends):
            return False
        cued, left = asyncio.ensure_future(cue.wait()), asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([cued, left], return_when=asyncio.FIRST_COMPLETED)
            if not cued.done():
                self.left += 1
                self.client_left.set()
            return cued.done()
        finally:
            cued.cancel()
            left.cancel()
            await asyncio.gather(cued, left, return_exceptions=True)


def event(data: object, name: str = "") -> bytes:
    """A server-sent event; a text is its data as it is."""
    written = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {written}\n\n".encode()


def failing(status: int, body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer; a text is an HTML page."""
    html = isinstance(body, str)
    content = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if html else "application/json"
    return Reply([content.encode()], status, headers or {}, kind)


async def _receive(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


def _in_order(script: list[Reply]) -> Callable[[Received], Reply]:
    remaining = list(reversed(script))

    def following(_: Received) -> Reply:
        return remaining.pop() if len(remaining) > 1 else remaining[0]

    return following
