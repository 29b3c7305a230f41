"""A process's lines to the harness: what it claims and commits, and what its tools effect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import Any

HOST = "127.0.0.1"


class Reports:
    """`tell` is done when it returns: what was told outlives a SIGKILL on the next line."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection((HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._numbers = 0
        self._ledger: asyncio.StreamWriter

    def tell(self, what: str, **details: Any) -> None:
        self._socket.sendall(_line({"what": what, "pid": os.getpid(), **details}))

    async def open(self) -> None:
        """Connects to the ledger. Without the harness there is nothing to live for."""
        reader, self._ledger = await asyncio.open_connection(HOST, self._port)
        self._listening = asyncio.create_task(self._listen(reader))

    async def effect(self, *, key: str, tag: str, kind: str) -> None:
        """Writes to the ledger; returns when it is written."""
        self._numbers += 1
        written = self._waiting[self._numbers] = asyncio.get_running_loop().create_future()
        self._ledger.write(
            _line({"what": "effect", "key": key, "tag": tag, "kind": kind, "n": self._numbers})
        )
        await written

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                written = self._waiting.pop(int(line))
                if not written.done():
                    written.set_result(None)
        os._exit(1)


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"
