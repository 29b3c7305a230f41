"""What is seen of the models while they answer: how many requests, how fast."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest
from orchestrator.domain.routing import ModelSignals, crowding
from orchestrator.model_calls.decaying import DecayingMean
from orchestrator.ports.models import EngineGauges, LanguageModel


@dataclass(slots=True)
class _Seen:
    in_flight: int = 0
    ttft_ms: DecayingMean = field(default_factory=DecayingMean)
    tpot_ms: DecayingMean = field(default_factory=DecayingMean)


class Observed(LanguageModel):
    """Counts each model's requests in flight and times its answers.

    A time is taken as that of a request alone: what others made of it, by `crowding` as it was
    when the request began, is divided out, and put back for those there are when routing asks.
    Answers that failed, were stopped or came out of a cache are not timed.
    """

    def __init__(
        self,
        inner: LanguageModel,
        gauges: EngineGauges | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._gauges = gauges
        self._clock = clock
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        seen = self._seen[request.model]
        timing = _Timing(self._clock, crowding(seen.in_flight, self._waiting(request.model)))
        seen.in_flight += 1
        try:
            async with aclosing(self._inner.chat(request)) as chunks:
                async for chunk in chunks:
                    timing.came()
                    if isinstance(chunk, ChatFinished) and chunk.cached is None:
                        timing.note(chunk, seen)
                    yield chunk
        finally:
            seen.in_flight -= 1

    async def ready(self, model: str) -> bool:
        return await self._inner.ready(model)

    def signals(self, model: str) -> ModelSignals:
        seen, now = self._seen.get(model, _NOTHING), self._clock()
        return ModelSignals(
            in_flight=seen.in_flight,
            waiting=self._waiting(model),
            ttft_ms=seen.ttft_ms.at(now),
            tpot_ms=seen.tpot_ms.at(now),
        )

    def _waiting(self, model: str) -> int | None:
        return self._gauges.waiting(model) if self._gauges else None


_NOTHING = _Seen()


class _Timing:
    """Of one answer."""

    def __init__(self, clock: Callable[[], float], crowded: tuple[float, float]) -> None:
        self._clock = clock
        self._later, self._slower = crowded
        self._began = clock()
        self._first: float | None = None

    def came(self) -> None:
        if self._first is None:
            self._first = self._clock()

    def note(self, finished: ChatFinished, seen: _Seen) -> None:
        """The model's adapter saw its first token, which may have been no text yet."""
        now = self._clock()
        first = self._began if self._first is None else self._first
        ttft_ms, rest_ms = (first - self._began) * 1000, (now - first) * 1000
        if finished.inference_ms > 0:
            ttft_ms = finished.prompt_ms + finished.ttft_ms
            rest_ms = max(0.0, finished.inference_ms - finished.ttft_ms)
        seen.ttft_ms.add(ttft_ms / self._later, now)
        if finished.usage.completion_tokens > 1:
            tpot_ms = rest_ms / (finished.usage.completion_tokens - 1)
            seen.tpot_ms.add(tpot_ms / self._slower, now)
