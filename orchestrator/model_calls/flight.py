"""One answer on its way to all who asked for it at the same time."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace

from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    MalformedToolCall,
    Meter,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import FleetError, Internal, Unavailable
from orchestrator.domain.events import AnswerCached, CacheHit
from orchestrator.domain.runs import Usage
from orchestrator.ports.answers import StoredAnswer


@dataclass(eq=False, slots=True)
class _Listener:
    meter: Meter
    began: float
    hit: CacheHit  # unless it pays
    first: float = 0.0


class Flight:
    """A task that lives while anybody listens, whoever asked first.

    Each listener gets every chunk at its own pace. One of them pays for the model: the first,
    or, when that one leaves before the end, the next. What the others get costs them nothing.
    """

    def __init__(
        self,
        request: ChatRequest,
        fly: Callable[[Flight], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fly` gets the answer, and hands it over by `say` or `replay`."""
        self.request = replace(request, meter=Meter())
        self._clock = clock
        self._chunks: list[ChatChunk] = []
        self._listeners: list[_Listener] = []
        self._payer: _Listener | None = None
        self._hit: AnswerCached | None = None
        self._error: Exception | None = None
        self._complete = self._abandoned = False
        self._more = asyncio.Event()
        self.task = asyncio.create_task(self._run(fly), name="flight")

    @property
    def leaving(self) -> bool:
        """Nobody may join any more."""
        return self._abandoned or self._error is not None

    def say(self, chunk: ChatChunk) -> None:
        self._chunks.append(chunk)
        if isinstance(chunk, ChatFinished):
            self.request.meter.usage = chunk.usage
            self._complete = True
        self._wake()

    def replay(self, answer: StoredAnswer, hit: CacheHit, similarity: float = 0.0) -> None:
        """Says all of an answer that was given before: nobody pays."""
        self._hit = AnswerCached(model=self.request.model, hit=hit, similarity=similarity)
        if answer.text:
            self.say(TextChunk(answer.text))
        for call in answer.calls:
            self.say(ToolCallChunk(call))
        self.say(ChatFinished(answer.reason, answer.usage, confidence=answer.confidence))

    async def listen(self, meter: Meter) -> AsyncGenerator[ChatChunk, None]:
        """Yields every chunk from the first on. Raises: as `LanguageModel.chat`."""
        hit = CacheHit.EXACT if self._complete else CacheHit.SHARED
        listener = _Listener(meter, self._clock(), hit)
        self._listeners.append(listener)
        self._payer = self._payer or listener
        heard = 0
        try:
            while True:
                while heard < len(self._chunks):
                    chunk = self._chunks[heard]
                    heard += 1
                    self._count(listener)
                    yield self._for(listener, chunk)
                if self._error is not None:
                    raise _once_more(self._error)
                if self._complete:
                    return
                await self._more.wait()
        finally:
            await self._leave(listener)

    def break_off(self) -> None:
        """Ends it, but for the storing of an answer that is complete."""
        if not self._complete:
            self.task.cancel()

    async def _run(self, fly: Callable[[Flight], Awaitable[None]]) -> None:
        try:
            await fly(self)
            self._fail(Internal(f"{self.request.model} ended its answer without saying so"))
        except asyncio.CancelledError:
            self._fail(Unavailable("the answer was broken off", reason="MODEL_UNAVAILABLE"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the listeners get it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """After the whole answer was said nobody cares."""
        if not self._complete:
            self._error = error
            self._wake()

    async def _leave(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        over = self._complete or self._error is not None
        self._count(listener)
        if over:
            return
        if self._listeners and listener is self._payer:
            self._payer = self._listeners[0]
            listener.meter.usage = Usage()
        elif not self._listeners:
            self._abandoned = True
            self.task.cancel()
            await asyncio.wait([self.task])
            self._count(listener)

    def _count(self, listener: _Listener) -> None:
        listener.meter.usage = self.request.meter.usage
        listener.meter.cached = not self._pays(listener)

    def _pays(self, listener: _Listener) -> bool:
        return self._hit is None and listener is self._payer

    def _for(self, listener: _Listener, chunk: ChatChunk) -> ChatChunk:
        now = self._clock()
        listener.first = listener.first or now
        if not isinstance(chunk, ChatFinished) or self._pays(listener):
            return chunk
        return replace(
            chunk,
            prompt_ms=0.0,
            ttft_ms=(listener.first - listener.began) * 1000,
            inference_ms=(now - listener.began) * 1000,
            cached=self._hit or AnswerCached(model=self.request.model, hit=listener.hit),
        )

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def _once_more(error: Exception) -> Exception:
    """A copy for one of many: raising it writes its traceback."""
    if isinstance(error, MalformedToolCall):
        return MalformedToolCall(error.detail, error.usage, error.said)
    if isinstance(error, FleetError):
        return copy.copy(error)
    internal = Internal("the model's answer ended in a defect")
    internal.__cause__ = error
    return internal
