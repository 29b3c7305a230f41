"""Around every call: credentials, parsing, its deadline, its errors, its metrics.

Requests arrive as bytes and are parsed here: grpc.aio itself would answer a
malformed one with UNKNOWN and the name of an exception's class.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from orchestrator.api.streams import closing
from orchestrator.domain.errors import Cancelled, InvalidInput, Unavailable
from orchestrator.ports.auth import Authenticator
from orchestrator.rpc.auth import identify
from orchestrator.rpc.calls import Calls
from orchestrator.rpc.errors import Status, status_of
from orchestrator.rpc.metrics import RpcMetrics

HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection."
_PUBLIC = (HEALTH, REFLECTION)
_LAST_WORDS_S = 1.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only
Requests: TypeAlias = AsyncIterator[bytes]
Behaviour: TypeAlias = Callable[[Requests, Context], Awaitable[Any]]
Parse: TypeAlias = Callable[[bytes], Any]
Read: TypeAlias = Callable[[Requests], Awaitable[Any]]


class _CallerGone(Exception):
    """The connection broke while it was written to, before the call was seen to be cancelled."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    def __init__(
        self,
        authenticator: Authenticator,
        *,
        calls: Calls,
        metrics: RpcMetrics,
        unary_limit_s: float,
        stream_limit_s: float,
        write_limit_s: float,
    ) -> None:
        self._authenticator = authenticator
        self._calls = calls
        self._metrics = metrics
        self._unary_limit_s = unary_limit_s
        self._stream_limit_s = stream_limit_s
        self._write_limit_s = write_limit_s
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # grpc answers UNIMPLEMENTED
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Any) -> Handler:
        parse = _parser(handler.request_deserializer)
        if handler.request_streaming:
            behaviour = _streaming(handler.stream_stream, _each(parse), self._write_limit_s)
        elif handler.response_streaming:
            behaviour = _streaming(handler.unary_stream, _only(parse), self._write_limit_s)
        else:
            behaviour = _unary(handler.unary_unary, _only(parse))
        # A request stream, also for one request: grpc.aio never answers a call without any.
        if handler.response_streaming:
            make, limit_s = grpc.stream_stream_rpc_method_handler, self._stream_limit_s
        else:
            make, limit_s = grpc.stream_unary_rpc_method_handler, self._unary_limit_s
        return make(
            self._answering(method, behaviour, limit_s),
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )

    def _answering(self, method: str, behaviour: Behaviour, limit_s: float) -> Behaviour:
        public = method.startswith(_PUBLIC)

        async def answer(requests: Requests, context: Context) -> Any:
            with self._metrics.call(method) as outcome:
                try:
                    async with AsyncExitStack() as stack:
                        if not method.startswith(HEALTH):
                            await stack.enter_async_context(
                                self._calls.admit(method, limit_s=limit_s)
                            )
                        if not public:
                            await identify(self._authenticator, context.invocation_metadata() or ())
                        return await behaviour(requests, context)
                except grpc.aio.AbortError:
                    outcome.code = _name(context.code())
                    raise
                except _CallerGone:
                    outcome.code = grpc.StatusCode.CANCELLED.name
                    raise asyncio.CancelledError from None  # which sends no status
                except asyncio.CancelledError:
                    outcome.code = grpc.StatusCode.CANCELLED.name
                    if _caller_left():
                        raise
                    error: BaseException = Cancelled("the service gave the call up; try again")
                except Exception as caught:  # noqa: BLE001 - the edge: whatever it is, it is answered
                    error = caught
                status = status_of(error, method=method)
                outcome.code = status.code.name
                return await _abort(context, status)

        return answer


async def _abort(context: Context, status: Status) -> NoReturn:
    """Ends the call. The status waits behind what the caller has not read yet; we don't."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            await context.abort(status.code, status.message, status.trailers)
    raise grpc.aio.AbortError


def _unary(handler: Callable[..., Any], read: Read) -> Behaviour:
    async def behaviour(requests: Requests, context: Context) -> Any:
        return await handler(await read(requests), context)

    return behaviour


def _streaming(handler: Callable[..., Any], read: Read, write_limit_s: float) -> Behaviour:
    async def behaviour(requests: Requests, context: Context) -> None:
        last_seq = 0
        async with closing(handler(await read(requests), context)) as responses:
            async for response in responses:
                # A write ends when the caller's flow-control window has taken all of the message.
                timer = asyncio.timeout(write_limit_s)
                try:
                    async with timer:
                        await context.write(response)
                except grpc.aio.InternalError as error:
                    raise _CallerGone from error
                except TimeoutError as error:
                    if not timer.expired():
                        raise
                    raise _slow_reader(write_limit_s, last_seq) from error
                last_seq = getattr(response, "seq", 0)

    return behaviour


def _slow_reader(limit_s: float, last_seq: int) -> Unavailable:
    return Unavailable(
        f"nothing was read from this stream for {limit_s:g} s, so it was ended: a watch goes on "
        "after the last event that was seen",
        reason="SLOW_WATCHER",
        metadata={"last_seq": str(last_seq)} if last_seq else None,
        retry_after_s=0.0,
    )


def _only(parse: Parse) -> Read:
    async def read(requests: Requests) -> Any:
        async for raw in requests:
            return parse(raw)
        raise InvalidInput("the call ended without its request", reason="MALFORMED_REQUEST")

    return read


def _each(parse: Parse) -> Read:
    async def parsed(requests: Requests) -> AsyncIterator[Any]:
        async for raw in requests:
            yield parse(raw)

    async def read(requests: Requests) -> AsyncIterator[Any]:
        return parsed(requests)

    return read


def _parser(deserialize: Parse) -> Parse:
    def parse(raw: bytes) -> Any:
        try:
            return deserialize(raw)
        except DecodeError as error:
            raise InvalidInput(
                f"the request of {len(raw)} bytes is not the protobuf message that this method "
                "takes: it is cut off, of another type, or has text that is not UTF-8",
                reason="MALFORMED_REQUEST",
            ) from error

    return parse


def _caller_left() -> bool:
    """Whether the call's own task is being cancelled, and not something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _name(code: Any) -> str:
    return code.name if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.name
