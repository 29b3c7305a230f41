"""One HTTP/2 connection to a Triton server, shared by all that call its models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

import grpc

from orchestrator.adapters.triton.cancel_hints import CancelHints
from orchestrator.adapters.triton.errors import failed, translated
from orchestrator.adapters.triton.wire import IndexRow, InferRequest, Outputs, Stubs
from orchestrator.domain.errors import InvalidInput, Unavailable

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
READY_TIMEOUT_S = 2.0

# Triton's server, as it comes, hangs up on clients that ping an idle stream more often.
KEEPALIVE_S = 300

_NOT_ANSWERED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}

# gRPC's name for it says "backoff", but it bounds how long an attempt to connect may take, up to
# the server's first frame: on a busy machine more than a moment, to a host that is gone for ever.
CONNECT_TIMEOUT_S = 5

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_S * 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


class TritonConnection:
    """An async context manager. It connects at the first call, and again whenever it must.

    `sent`, wherever it is asked for, are texts that must not be in an error's message.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, stream_timeout_s: float = 600.0):
        """`url` is host:port. The timeouts are for a whole call."""
        self.url = url
        self._timeout_s = timeout_s
        self._stream_timeout_s = stream_timeout_s
        self._channel: grpc.aio.Channel | None = None
        self._opened: Stubs | None = None
        self._hints: CancelHints | None = None
        self._calls: set[asyncio.Future[Outputs]] = set()

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self.url, options=_OPTIONS)
        self._opened = Stubs(self._channel)
        self._hints = CancelHints(self._opened, timeout_s=self._timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        channel, self._channel, self._opened = self._channel, None, None
        hints, self._hints = self._hints, None
        if channel is not None:
            await channel.close()
        if hints is not None:
            await hints.close()

    async def infer(self, request: InferRequest, *, sent: Sequence[str] = ()) -> Outputs:
        """Makes one call. Cancelled, it returns at once but lets the call run to its end:

        cancelling one that is about to end can crash Triton 24.10, and these are short.

        Raises:
            InvalidInput, Unavailable, DeadlineExceeded, Internal.
        """
        call = asyncio.ensure_future(self._stubs.infer(request, timeout_s=self._timeout_s))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        try:
            return await asyncio.shield(call)
        except grpc.aio.AioRpcError as error:
            raise translated(error, request.model_name, sent) from None

    async def stream(
        self,
        request: InferRequest,
        *,
        sent: Sequence[str] = (),
        session: str = "",  # noqa: ARG002 - for who chooses among several servers
    ) -> AsyncGenerator[Outputs, None]:
        """Yields the responses to one request. Closed early, it stops the model's work.

        A cancel that crosses the end of the answer can crash Triton 24.10 (its server's
        pull requests 7840 and 8078 are about that): where an end is near, read on to it.

        Raises: as `infer`.
        """
        responses = self._stubs.stream(request, timeout_s=self._stream_timeout_s)
        try:
            async with aclosing(responses):
                async for response in responses:
                    if isinstance(response, str):
                        raise failed(request.model_name, response, sent)
                    yield response
        except grpc.aio.AioRpcError as error:
            raise translated(error, request.model_name, sent) from None
        except (GeneratorExit, asyncio.CancelledError):
            if self._hints is not None:
                self._hints.send(request)
            raise

    async def alive(self) -> bool:
        """Says whether the server answers within READY_TIMEOUT_S. Never raises."""
        try:
            return await self._stubs.server_live(timeout_s=READY_TIMEOUT_S)
        except (grpc.aio.AioRpcError, Unavailable):
            return False

    async def ready(self, model: str) -> bool:
        """Says whether the model answers now. Never raises."""
        try:
            return await self._stubs.model_ready(model, timeout_s=READY_TIMEOUT_S)
        except (grpc.aio.AioRpcError, Unavailable):
            return False

    async def max_batch_size(self, model: str) -> int:
        """Returns the most rows of one request; 0 means the model takes no batches."""
        try:
            return await self._stubs.max_batch_size(model, timeout_s=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translated(error, model, ()) from None

    async def repository_index(self) -> list[IndexRow]:
        """Raises: Unavailable, DeadlineExceeded, Internal."""
        try:
            return await self._stubs.repository_index(timeout_s=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translated(error, "index", ()) from None

    async def load(self, model: str, *, timeout_s: float) -> None:
        """
        Raises:
            InvalidInput: MODEL_NOT_LOADED, with Triton's reason.
            Unavailable, DeadlineExceeded, as `infer`.
        """
        try:
            await self._stubs.load(model, timeout_s=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NOT_ANSWERED:
                raise translated(error, model, ()) from None
            said = " ".join((error.details() or "no reason was given").split())
            raise InvalidInput(
                f"model {model} does not load: {said}", reason="MODEL_NOT_LOADED"
            ) from None

    async def unload(self, model: str, *, timeout_s: float) -> None:
        """Returns when Triton has begun to unload it. Raises: as `repository_index`."""
        try:
            await self._stubs.unload(model, timeout_s=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translated(error, model, ()) from None

    def _forget(self, call: asyncio.Future[Outputs]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # seen, also when nobody waits for it any more

    @property
    def _stubs(self) -> Stubs:
        if self._opened is None:
            raise Unavailable("the connection to Triton is closed", reason="MODEL_UNAVAILABLE")
        return self._opened
