"""The same request twice, when its answer is long in coming; the first to come counts.

Source: hedged requests, "The Tail at Scale", Dean and Barroso, CACM 56(2), 2013.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, suppress
from dataclasses import replace
from functools import reduce
from operator import add

from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, Meter
from orchestrator.domain.errors import DeadlineExceeded, Internal, Unavailable
from orchestrator.domain.runs import Usage
from orchestrator.ports.models import LanguageModel

_OF_THE_MOMENT = (Unavailable, DeadlineExceeded, Internal)
"""What the other call may not meet."""


async def hedged(
    inner: LanguageModel,
    request: ChatRequest,
    *,
    after_s: float,
    place: Callable[[], AbstractAsyncContextManager[None]],
    on_hedge: Callable[[], None],
) -> AsyncGenerator[ChatChunk, None]:
    """The second call needs a `place`, which raises Unavailable when there is none: then there
    is no such call. Both are metered, and their sum is the answer's usage.
    """
    calls, held = [_Call(inner, request)], AsyncExitStack()
    try:
        await asyncio.wait({calls[0].begun}, timeout=after_s)
        if not calls[0].begun.done():
            with suppress(Unavailable):
                await held.enter_async_context(place())
                on_hedge()
                # Of no session: where those stick to a replica, this one may go to another.
                calls.append(_Call(inner, replace(request, session_id="")))
        winner = await _winner(calls)
        await _stop([call for call in calls if call is not winner])
        while (chunk := await winner.next()) is not None:
            request.meter.usage = usage = _sum(calls)
            yield replace(chunk, usage=usage) if isinstance(chunk, ChatFinished) else chunk
    finally:
        await _stop(calls)
        await held.aclose()
        request.meter.usage = _sum(calls)


class _Call:
    """In a task of its own, from beginning to end: what is beneath may have timeouts in it."""

    def __init__(self, inner: LanguageModel, request: ChatRequest) -> None:
        self.meter = Meter()
        self.error: Exception | None = None
        self.begun = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[ChatChunk | None] = asyncio.Queue(1)
        chunks = inner.chat(replace(request, meter=self.meter))
        self._task = asyncio.create_task(self._read(chunks))

    async def next(self) -> ChatChunk | None:
        """None is the end; raises what the call raised."""
        chunk = await self._chunks.get()
        if chunk is None and self.error is not None:
            raise self.error
        return chunk

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self, chunks: AsyncGenerator[ChatChunk, None]) -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._begin()
                    await self._chunks.put(chunk)
        except Exception as error:  # noqa: BLE001 - raised where it is read
            self.error = error
        self._begin()
        await self._chunks.put(None)

    def _begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)


async def _winner(calls: Sequence[_Call]) -> _Call:
    """The first to say something, be it that the request is wrong."""
    waiting = {call.begun: call for call in calls}
    while True:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for begun in done:
            call = waiting.pop(begun)
            if not waiting or not isinstance(call.error, _OF_THE_MOMENT):
                return call


async def _stop(calls: Sequence[_Call]) -> None:
    await asyncio.gather(*(call.stop() for call in calls))


def _sum(calls: Sequence[_Call]) -> Usage:
    return reduce(add, (call.meter.usage for call in calls))
