"""A real HTTP server that answers as a test says, and a source of tools that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from pydantic import SecretStr

from orchestrator.adapters.http_tools import (
    HttpTool,
    HttpTools,
    PinnedNetwork,
    Place,
)
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, ToolResult, ToolSpec

HOST = "shop.test"
TRUST = httpx2.create_ssl_context()  # made once: it takes long
KEY = "run_1:2:call_3"
ANYTHING = {"type": "object", "additionalProperties": True}


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    rest: asyncio.StreamReader  # at its end when the caller has closed


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[bytes | None]]


def said(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    port: int = 0
    connections: int = 0
    seen: list[Request] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answer: Answer | bytes, *, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Serves on loopback. `answer` returns the whole response, or None to hang up."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while (request := await _request(reader)) is not None:
                server.seen.append(request)
                reply = answer if isinstance(answer, bytes) else await answer(request, writer)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller hung up, which many of the tests want
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    tasks: set[asyncio.Task[None]] = set()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(start, "127.0.0.1", 0, ssl=trust)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, reader)


def resolving(addresses: Mapping[str, Sequence[str]]) -> Callable[[str, int], Awaitable[Any]]:
    async def resolver(host: str, port: int) -> Sequence[str]:
        if host not in addresses:
            raise OSError(f"no such host {host}")
        return addresses[host]

    return resolver


def http_tool(url: str, **fields: Any) -> HttpTool:
    schema = ToolSchema("odd", "Odd.", fields.pop("parameters", ANYTHING))
    spec = ToolSpec(schema, effect=fields.pop("effect", Effect.IDEMPOTENT), kind="http")
    fields["headers"] = {k: SecretStr(v) for k, v in fields.pop("headers", {}).items()}
    if fields.get("method") == "GET":
        fields.setdefault("arguments", Place.QUERY)
    return HttpTool(spec, url, **fields)


@asynccontextmanager
async def source(
    tool: HttpTool,
    *,
    addresses: Mapping[str, Sequence[str]] | None = None,
    internal: bool = True,
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[HttpTools]:
    _, host, port = tool.origin
    allowed = {(host, port)} if internal else set()
    network = PinnedNetwork(
        internal=allowed, resolver=resolving(addresses or {HOST: ["127.0.0.1"]})
    )
    async with HttpTools([tool], network=network, hosts=[host], trust=trust or TRUST) as tools:
        yield tools


async def call(tools: HttpTools, arguments: object = None, *, timeout_s: float = 5.0) -> ToolResult:
    written = json.dumps({} if arguments is None else arguments)
    wish = ToolCall(call_id="call_3", name="odd", arguments_json=written)
    return await tools.call(wish, key=KEY, timeout_s=timeout_s)


async def answered(
    answer: Answer | bytes, arguments: object = None, *, timeout_s: float = 5.0, **fields: Any
) -> tuple[ToolResult, Server]:
    """One call of a tool at a server that answers so."""
    async with serving(answer) as server:
        path = fields.pop("path", "/do")
        async with source(http_tool(f"http://{HOST}:{server.port}{path}", **fields)) as tools:
            return await call(tools, arguments, timeout_s=timeout_s), server
