"""Connections that reach only what they may.

A connection's name is resolved once, all its addresses are checked, and it is made to one
that was checked. The request keeps the name, so Host and the certificate's name are right.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore2
import httpx2

from orchestrator.adapters.http_tools.addresses import refusal

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host, best first; raises OSError when there are none."""

MAX_ADDRESSES = 4
CONNECT_S = 5.0
KEEPALIVE_S = 5.0


class AddressRefused(Exception):
    """The host has an address that a tool may not reach; the message says which kind."""


async def resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedNetwork(httpcore2.AsyncNetworkBackend):
    """`internal` names the hosts, as (host, port), whose addresses may be of any kind."""

    def __init__(
        self, *, internal: Iterable[tuple[str, int]] = (), resolver: Resolver = resolve
    ) -> None:
        self.internal = frozenset(internal)
        self._resolver = resolver
        self._tcp = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the driver's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises AddressRefused, and what httpcore raises when it can't connect."""
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                return await self._tcp.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolver(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} can't be resolved") from error
        if (host.strip("[]").lower(), port) not in self.internal:
            for address in found:
                why = refusal(address)
                if why is not None:
                    raise AddressRefused(f"{host} has an address that is not public: {why}")
        return found[:MAX_ADDRESSES]

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the driver's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        raise AddressRefused(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """A transport over a pinned network. It follows no redirect and knows no proxy.

    `keep_alive` False makes a connection for each request: one on a connection that the
    server is just closing fails in a way that leaves open whether it was carried out.
    """

    def __init__(
        self,
        network: PinnedNetwork,
        *,
        keep_alive: bool = True,
        max_connections: int = 100,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        context = trust or httpx2.create_ssl_context()
        super().__init__(verify=context)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            max_keepalive_connections=max_connections if keep_alive else 0,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=network,
        )
