"""Calls HTTP services as tools."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin

import httpx2

from orchestrator.adapters.http_tools.declaration import HttpTool, HttpToolError, check
from orchestrator.adapters.http_tools.network import (
    CONNECT_S,
    AddressRefused,
    GuardedTransport,
    PinnedNetwork,
)
from orchestrator.adapters.http_tools.request import NoSuchPath, build
from orchestrator.adapters.http_tools.response import Reply, result_of
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec, failure
from orchestrator.ports.tools import ToolSource


@dataclass(slots=True)
class _Exchange:
    """How far a call got: before its first byte went out it can't have happened."""

    sent: bool = False

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True


class HttpTools(ToolSource):
    """Use it as a context. `hosts` and the network's internal ones are all that it calls."""

    def __init__(
        self,
        tools: Iterable[HttpTool],
        *,
        network: PinnedNetwork,
        hosts: Collection[str] = (),
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Raises HttpToolError: a tool is declared wrongly, or its host is not on a list."""
        self._tools: dict[str, HttpTool] = {}
        for tool in tools:
            check(tool, hosts=hosts, internal=network.internal)
            if self._tools.setdefault(tool.spec.schema.name, tool) is not tool:
                raise HttpToolError(f"two HTTP tools are named {tool.spec.schema.name!r}")
        self._specs = {name: tool.spec for name, tool in self._tools.items()}
        trust = trust or httpx2.create_ssl_context()
        self._kept = GuardedTransport(network, trust=trust)
        self._fresh = GuardedTransport(network, trust=trust, keep_alive=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.aclose()
        await self._fresh.aclose()

    def specs(self) -> Mapping[str, ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        tool, exchange = self._tools[call.name], _Exchange()
        try:
            request = build(tool, json.loads(call.arguments_json), key=key)
        except NoSuchPath as wrong:
            return failure(str(wrong))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._exchanged(tool, request, exchange, timeout_s)
        except AddressRefused as refused:
            return failure(f"{call.name} can't be called: {refused}")
        except (TimeoutError, httpx2.TimeoutException):
            return _cut_off(exchange, f"{call.name} took longer than {timeout_s:.3g} s")
        except httpx2.TransportError:  # its text may hold a header
            what = "broke off its answer" if exchange.sent else "can't be reached"
            return _cut_off(exchange, f"the service of {call.name} {what}")
        return result_of(reply, effect=tool.spec.effect, method=tool.method)

    async def _exchanged(
        self, tool: HttpTool, request: httpx2.Request, exchange: _Exchange, timeout_s: float
    ) -> Reply:
        request.extensions = {
            "timeout": {"connect": min(CONNECT_S, timeout_s), "pool": timeout_s},
            "trace": exchange.trace,
        }
        reply = await self._sent(tool, request)
        for _ in range(tool.redirects):
            target = _redirected(tool, request, reply)
            if target is None:
                break
            request = httpx2.Request(
                "GET", target, headers=request.headers, extensions=request.extensions
            )
            reply = await self._sent(tool, request)
        return reply

    async def _sent(self, tool: HttpTool, request: httpx2.Request) -> Reply:
        once = tool.spec.effect is Effect.AT_MOST_ONCE
        transport = self._fresh if once else self._kept
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        try:
            body, cut = await _read(response.stream, tool.max_response_bytes)
        finally:
            await response.stream.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, body, cut)


async def _read(stream: httpx2.AsyncByteStream, most: int) -> tuple[bytes, bool]:
    body = bytearray()
    async for part in stream:
        body += part
        if len(body) > most:
            return bytes(body[:most]), True
    return bytes(body), False


def _redirected(tool: HttpTool, request: httpx2.Request, reply: Reply) -> str | None:
    """Where a GET is sent on to within its own origin."""
    location = reply.headers.get("location", "")
    if tool.method != "GET" or reply.status not in (301, 302, 303, 307, 308) or not location:
        return None
    try:
        target = httpx2.URL(urljoin(str(request.url), location))
    except (httpx2.InvalidURL, ValueError):
        return None
    here = request.url
    same = (target.scheme, target.host, target.port) == (here.scheme, here.host, here.port)
    return str(target) if same and not target.userinfo else None


def _cut_off(exchange: _Exchange, why: str) -> ToolResult:
    return failure(why, Outcome.UNKNOWN if exchange.sent else Outcome.TRANSIENT)
