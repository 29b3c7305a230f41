"""A provider's connections: opened once, shared by all its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import httpx2

from orchestrator.adapters.provider_connection.connection import ProviderConnection
from orchestrator.adapters.provider_connection.failures import unavailable
from orchestrator.domain.addresses import is_loopback
from orchestrator.domain.errors import FleetError, Remedy

KEEPALIVE_S = 60.0
STREAMS_PER_CONNECTION = 100
"""Of HTTP/2, by what servers allow (RFC 9113, 6.5.2, recommends no less)."""

T = TypeVar("T")
Explain = Callable[[Exception], FleetError]

# What the SDKs let through: the HTTP client's errors, those of TLS and sockets, and what reading
# a piece raises: no JSON (ValueError), no UTF-8 (ValueError), or nested without end.
_PASSED_ON = (httpx2.HTTPError, httpx2.StreamError, OSError, EOFError, ValueError, RecursionError)


class Pieces(Protocol):
    """A stream of the SDKs, as far as both have the same."""

    def __anext__(self) -> Awaitable[object]: ...

    async def close(self) -> None: ...


class ConnectionPool:
    """`errors` is the root of the SDK's errors.

    A request has a place to itself, as many as there are connections: who waits for one waits
    in order, and the pool never has to queue.
    """

    def __init__(self, settings: ProviderConnection, errors: type[Exception]) -> None:
        self._settings = settings
        self._errors = (errors, *_PASSED_ON)
        http2 = settings.http2 and find_spec("h2") is not None
        self._places = asyncio.Semaphore(
            settings.max_connections * (STREAMS_PER_CONNECTION if http2 else 1)
        )
        host = urlsplit(settings.base_url).hostname or ""
        self.client = httpx2.AsyncClient(
            http2=http2,
            trust_env=not is_loopback(f"{host}:0"),  # no proxy leads to this machine
            timeout=httpx2.Timeout(settings.whole_s, connect=settings.connect_s),
            limits=httpx2.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=settings.max_connections,
                keepalive_expiry=KEEPALIVE_S,
            ),
        )

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    @property
    def full(self) -> bool:
        return self._places.locked()

    @asynccontextmanager
    async def call(self, model: str, explained: Explain) -> AsyncIterator[Call]:
        """A place for one request, given back when its stream is closed.

        Raises:
            Unavailable: MODEL_UNAVAILABLE, none became free.
        """
        await self._wait(model)
        call = Call(self._settings, model, self._errors, explained)
        try:
            yield call
        finally:
            try:
                await call.close()
            finally:
                self._places.release()

    async def _wait(self, model: str) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.first_byte_s):
                await self._places.acquire()
        except TimeoutError:
            pass
        else:
            return
        raise unavailable(
            model,
            f"the {settings.max_connections} connections to {settings.name} were all in use "
            f"for {settings.first_byte_s:g} s",
            Remedy.TRY_ANOTHER,
        )


class Call:
    """One request and its answer, within the provider's times.

    What it raises has no trace of the SDK's error, which holds the request with its key.
    """

    def __init__(
        self,
        settings: ProviderConnection,
        model: str,
        errors: tuple[type[Exception], ...],
        explained: Explain,
    ) -> None:
        self._settings = settings
        self._model = model
        self._errors = errors
        self._explained = explained
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + settings.whole_s
        self._until = self._clock() + settings.first_byte_s
        self._streamed = False
        self._stream: Pieces | None = None

    async def open(self, opening: Awaitable[Pieces]) -> None:
        """Raises Unavailable, InvalidInput: as the failure is explained."""
        opened = await self._outcome(opening)
        if isinstance(opened, FleetError):
            raise opened
        self._stream = opened

    async def pieces(self) -> AsyncGenerator[object, None]:
        """Raises Unavailable, InvalidInput: as the failure is explained."""
        assert self._stream is not None
        while True:
            piece = await self._outcome(_next(self._stream))
            if piece is _END:
                return
            if isinstance(piece, FleetError):
                raise piece
            self._streamed = True
            yield piece
            # From here on: who reads slowly is not the provider's silence.
            self._until = self._clock() + self._settings.between_chunks_s

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()

    async def _outcome(self, work: Awaitable[T]) -> T | FleetError:
        try:
            async with asyncio.timeout_at(min(self._until, self._end)):
                return await work
        except TimeoutError:
            return self._silence()
        except self._errors as error:
            return self._explained(error)

    def _silence(self) -> FleetError:
        name, times = self._settings.name, self._settings
        if self._until >= self._end:
            what = f"{name} did not end its answer within {times.whole_s:g} s"
            return unavailable(self._model, what, Remedy.TRY_ANOTHER)
        if self._streamed:
            what = f"{name} fell silent in its answer for {times.between_chunks_s:g} s"
            return unavailable(self._model, what)
        what = f"{name} did not begin to answer within {times.first_byte_s:g} s"
        return unavailable(self._model, what, Remedy.TRY_ANOTHER)


_END = object()


async def _next(stream: Pieces) -> object:
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return _END
