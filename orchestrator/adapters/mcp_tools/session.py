"""One server's session: opened, checked, shared by all calls, and opened anew when it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import mcp_types
from mcp import Client, MCPError
from mcp.client import IncomingMessage, InputRequiredRoundsExceededError, Transport
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from orchestrator.adapters.mcp_tools.http import OpenHttp, http_client, http_transport
from orchestrator.adapters.mcp_tools.listing import list_all, tool_digest
from orchestrator.adapters.mcp_tools.observer import McpObserver
from orchestrator.adapters.mcp_tools.process import StartFailure
from orchestrator.adapters.mcp_tools.results import from_error, from_result
from orchestrator.adapters.mcp_tools.server import McpServer, StdioEndpoint
from orchestrator.adapters.mcp_tools.stdio import stdio_transport
from orchestrator.adapters.mcp_tools.wire import Fault
from orchestrator.domain.tools import Outcome, ToolResult, failure

KEY_META = "agent-fleet/idempotency-key"

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_SAID_CHARS = 200
_CALM_S = 60.0  # what held for so long starts the waits over

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    connect_s: float = 60.0  # a first start may download the server
    check_s: float = 20.0
    wait_s: float = 5.0  # of a call, for a session that is being opened


@dataclass(slots=True)
class Link:
    """A session that is open. `news` is set when it ended or should be looked at; no call is
    made meanwhile if its tools may have changed."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    changed: bool = False
    client: Client | None = None

    def end(self) -> None:
        self.ended = True
        self.news.set()

    def change(self) -> None:
        self.changed = True
        self.news.set()

    async def hear(self, message: IncomingMessage) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self.change()


@asynccontextmanager
async def open_link(server: McpServer, open_http: OpenHttp) -> AsyncIterator[Link]:
    """Requests of the server's own (sampling, elicitation, roots) are refused."""
    link = Link()
    async with AsyncExitStack() as opened:
        transport: Transport
        if isinstance(server.endpoint, StdioEndpoint):
            transport = stdio_transport(server.endpoint, server.name, link.end)
        else:
            network = open_http(server.endpoint)
            http = await opened.enter_async_context(http_client(server.endpoint, network))
            transport = http_transport(server.endpoint, http)
        client = Client(
            transport,
            message_handler=link.hear,
            client_info=mcp_types.Implementation(name="agent-fleet", version="1"),
            cache=None,
        )
        link.client = await opened.enter_async_context(client)
        yield link


class ServerSession:
    def __init__(
        self,
        server: McpServer,
        pins: Mapping[str, str],
        open_http: OpenHttp,
        observer: McpObserver,
        patience: Patience = Patience(),
    ) -> None:
        """`pins` are the digests of the tools that are offered, by the server's names for them."""
        self._server = server
        self._pins = pins
        self._open_http = open_http
        self._observer = observer
        self._patience = patience
        self._link: Link | None = None
        self._settled = asyncio.Event()  # not set while a session is opened or checked
        self._refused: Mapping[str, str] = {}
        self._random = random.Random()  # noqa: S311 - spreads the load

    async def run(self) -> None:
        """Keeps a session open until it is cancelled."""
        waits = self._waits()
        while True:
            why = await self._hold()
            _log.warning("MCP server %s: %s; it is tried again", self._server.name, why)
            await asyncio.sleep(next(waits))

    async def call(
        self, name: str, arguments: dict[str, Any], *, key: str, timeout_s: float
    ) -> ToolResult:
        clock = asyncio.get_running_loop().time
        ends = clock() + timeout_s
        link = await self._ready(min(self._patience.wait_s, timeout_s))
        if link is None or link.client is None:
            return failure(
                f"the MCP server {self._server.name!r} is not up; it may be later",
                Outcome.TRANSIENT,
            )
        if name in self._refused:
            return failure(self._refused[name])
        try:
            async with asyncio.timeout(ends - clock()):
                return await self._called(link, link.client, name, arguments, key)
        except TimeoutError:
            link.news.set()  # it may answer nobody any more
            return failure(f"{name} took longer than {timeout_s:.3g} s", Outcome.UNKNOWN)

    async def _called(
        self, link: Link, client: Client, name: str, arguments: dict[str, Any], key: str
    ) -> ToolResult:
        # The SDK's type names only the keys of the specification, which allows others.
        meta: Any = {KEY_META: key}
        try:
            return from_result(await client.call_tool(name, arguments, meta=meta))
        except MCPError as error:
            self._heed(link, error.code)
            return from_error(error.error)
        except InputRequiredRoundsExceededError:
            return failure("the tool asks for input, which it can't be given")
        except (RuntimeError, ValidationError):
            return failure("the tool ran, but its answer does not have the form it promises")

    def _heed(self, link: Link, code: int) -> None:
        """A fault of one call may be the server's: have the session looked at."""
        if code == Fault.SESSION_LOST:
            link.end()
        elif code in {Fault.NOT_SENT, Fault.BROKEN, mcp_types.CONNECTION_CLOSED}:
            link.change()

    async def _ready(self, wait_s: float) -> Link | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        link = self._link
        return link if self._settled.is_set() and link and not link.ended else None

    async def _hold(self) -> str:
        """Opens a session and keeps it; returns why it ended."""
        self._settled.clear()
        try:
            await self._keep()
        except Exception as error:  # noqa: BLE001 - whatever breaks, the next try is due
            return why_broken(error)
        else:
            return "its session ended"
        finally:
            self._link = None
            self._settled.set()
            self._observer.connected(self._server.name, up=False)

    async def _keep(self) -> None:
        async with AsyncExitStack() as opened:
            async with asyncio.timeout(self._patience.connect_s):
                link = await opened.enter_async_context(open_link(self._server, self._open_http))
                await self._check(link)
            await opened.enter_async_context(self._following(link))
            self._link = link
            self._observer.connected(self._server.name, up=True)
            _log.info("MCP server %s is up", self._server.name)
            await self._watch(link)

    async def _watch(self, link: Link) -> None:
        # A server that carries out one call at a time answers within the time of the longest.
        check_s = max(self._patience.check_s, self._server.timeout_s)
        while not link.ended:
            self._settled.set()
            await link.news.wait()
            link.news.clear()
            if link.changed:
                link.changed = False
                self._settled.clear()
            if not link.ended:
                async with asyncio.timeout(check_s):
                    await self._check(link)

    async def _check(self, link: Link) -> None:
        """Compares what the server offers with what was pinned."""
        assert link.client is not None
        listed = {tool.name: tool_digest(tool) for tool in await list_all(link.client)}
        before, server = self._refused.keys(), self._server.name
        self._refused = {
            name: _refusal(server, name, pin, listed.get(name))
            for name, pin in self._pins.items()
            if listed.get(name) != pin
        }
        for name in self._refused.keys() - before:
            _log.warning("%s", self._refused[name])
            self._observer.refused(server, name)

    @asynccontextmanager
    async def _following(self, link: Link) -> AsyncIterator[None]:
        following = asyncio.create_task(self._follow(link))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, link: Link) -> None:
        """Since 2026-07-28 a server tells of changes only those who listen."""
        assert link.client is not None
        tools = link.client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        waits = self._waits()
        while True:
            with suppress(SubscriptionLost, MCPError):
                try:
                    async with link.client.listen(tools_list_changed=True) as changes:
                        link.change()  # what changed while nobody listened is seen by looking
                        async for _ in changes:
                            link.change()
                except ListenNotSupportedError:
                    return
            link.change()  # who stops telling may be another server by now
            await asyncio.sleep(next(waits))

    def _waits(self) -> Iterator[float]:
        """Full jitter below a ceiling that doubles; a pause of `_CALM_S` starts it over."""
        clock = asyncio.get_running_loop().time
        ceiling, last = _FIRST_WAIT_S, clock()
        while True:
            if clock() - last > _CALM_S + ceiling:
                ceiling = _FIRST_WAIT_S
            last = clock()
            yield self._random.uniform(0, ceiling)
            ceiling = min(_LONGEST_WAIT_S, ceiling * 2)


def _refusal(server: str, name: str, pin: str, found: str | None) -> str:
    if found is None:
        return f"the MCP server {server!r} does not have the tool {name!r} any more"
    return (
        f"the tool {name!r} of the MCP server {server!r} is not called: it is {found} now, and "
        f"{pin} was pinned; `fleet tools pin {server}` shows what it is"
    )


def why_broken(error: BaseException) -> str:
    """What a person should read: our own reason, the server's, or just the kind of error."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(why_broken(each) for each in error.exceptions))
    if isinstance(error, StartFailure):
        return str(error)
    if isinstance(error, MCPError) and error.code in set(Fault):
        return error.message
    if isinstance(error, MCPError):
        return f"it says {error.message[:_SAID_CHARS]!r}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return f"its session broke ({type(error).__name__})"
