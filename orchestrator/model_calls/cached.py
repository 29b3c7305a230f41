"""Answers that were given before, and one answer for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Self

from orchestrator.domain.allowance import Allowance
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    FinishReason,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import Exhausted, Unavailable
from orchestrator.domain.events import CacheHit
from orchestrator.domain.messages import ToolCall
from orchestrator.model_calls.answer_keys import answer_key, cacheable, flight_name
from orchestrator.model_calls.cache_metrics import BYPASSED, MISS, CacheMetrics
from orchestrator.model_calls.flight import Flight
from orchestrator.model_calls.leases import Lease, LeaseTimes
from orchestrator.model_calls.semantic import SemanticIndex
from orchestrator.ports.answers import AnswerCache, AnswerKey, StoredAnswer
from orchestrator.ports.models import LanguageModel, ModelVersions


class Cached(LanguageModel):
    """Gives an earlier answer to a request that can have no other: temperature 0, and the same
    tenant, prompt, tools, schema, model and version. An async context manager: its end breaks
    off what is in the air.

    A request that is in the air, here or in another process, is waited for instead of being
    sent again. What is hit is marked in `ChatFinished.cached` and `Meter.cached`.
    """

    def __init__(
        self,
        inner: LanguageModel,
        answers: AnswerCache,
        *,
        catalogue: Catalogue,
        versions: ModelVersions,
        metrics: CacheMetrics,
        semantic: SemanticIndex | None = None,
        times: LeaseTimes = LeaseTimes(),
        generation: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`generation` is part of every key: another one finds nothing of what is stored."""
        self._inner = inner
        self._answers = answers
        self._catalogue = catalogue
        self._versions = versions
        self._metrics = metrics
        self._semantic = semantic
        self._times = times
        self._generation = generation
        self._clock = clock
        self._flights: dict[tuple[str, str], Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for flight in self._flights.values():
            flight.break_off()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def in_the_air(self) -> int:
        """How many answers are on their way or being stored."""
        return len(self._tasks)

    async def ready(self, model: str) -> bool:
        return await self._inner.ready(model)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        flight = await self._flight(request)
        kind = MISS if flight else BYPASSED
        chunks = flight.listen(request.meter) if flight else self._inner.chat(request)
        async with aclosing(chunks):
            async for chunk in chunks:
                if isinstance(chunk, ChatFinished):
                    hit = chunk.cached
                    self._metrics.answered(request.model, hit.hit.value if hit else kind)
                yield chunk

    async def _flight(self, request: ChatRequest) -> Flight | None:
        """The one that brings the answer; None: it is not for the cache."""
        entry = self._catalogue.get(request.model)
        if entry is None or not cacheable(request):
            return None
        try:
            version = f"{self._generation}/{await self._versions.version(entry)}"
        except Unavailable:
            return None  # the model itself will say what is the matter
        key = answer_key(request, entry, version)
        name = flight_name(key, request)
        flight = self._flights.get((key.tenant, name))
        if flight is None or flight.leaving:
            fly = partial(self._fly, key=key, name=name, entry=entry, version=version)
            flight = Flight(request, fly, clock=self._clock)
            self._flights[key.tenant, name] = flight
            self._tasks.add(flight.task)
            flight.task.add_done_callback(partial(self._landed, flight, (key.tenant, name)))
        return flight

    def _landed(self, flight: Flight, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._flights.get(place) is flight:
            del self._flights[place]

    async def _fly(
        self, flight: Flight, *, key: AnswerKey, name: str, entry: ModelEntry, version: str
    ) -> None:
        request = flight.request
        async with Lease(self._answers, key, name, self._times, clock=self._clock) as lease:
            found = await lease.take()
            if found and _affordable(found.answer, request.allowance):
                flight.replay(found.answer, found.hit)
                return
            likeness = None
            if self._semantic is not None and found is None:
                likeness = await self._semantic.likeness(request, entry, version)
                similar = await self._semantic.find(request.tenant, likeness) if likeness else None
                if similar and _affordable(similar.answer, request.allowance):
                    flight.replay(similar.answer, CacheHit.SEMANTIC, similar.similarity)
                    return
            answer = await self._ask(flight)
            if answer is None or _cut_by_budget(answer, request, entry):
                return
            alike = likeness if SemanticIndex.takes(answer) else None
            self._metrics.put(await lease.put(answer, alike))

    async def _ask(self, flight: Flight) -> StoredAnswer | None:
        """Returns what the model said, as it is to be stored; None: it did not end."""
        text: list[str] = []
        calls: list[ToolCall] = []
        answer: StoredAnswer | None = None
        async with aclosing(self._inner.chat(flight.request)) as chunks:
            async for chunk in chunks:
                match chunk:
                    case TextChunk():
                        text.append(chunk.text)
                    case ToolCallChunk():
                        calls.append(chunk.call)
                    case ChatFinished():
                        answer = StoredAnswer(
                            text="".join(text),
                            calls=tuple(calls),
                            reason=chunk.reason,
                            usage=chunk.usage,
                            confidence=chunk.confidence,
                        )
                flight.say(chunk)
        return answer


def _affordable(answer: StoredAnswer, allowance: Allowance) -> bool:
    """Its tokens count in the run's budget; its price is nothing."""
    return allowance.tokens is None or answer.usage.tokens <= allowance.tokens


def _cut_by_budget(answer: StoredAnswer, request: ChatRequest, entry: ModelEntry) -> bool:
    """Whether with a larger allowance the answer could be another.

    Where the engine is held to a schema, its bounds depend on the tokens that are left.
    """
    prompt_tokens = answer.usage.prompt_tokens
    wanted = min(request.sampling.max_tokens or entry.max_new_tokens, entry.max_new_tokens)
    room = max(0, min(wanted, entry.context_tokens - prompt_tokens))
    with suppress(Exhausted):
        if request.allowance.new_tokens(prompt_tokens, room) == room:
            return False
    return request.output is not None or answer.reason is FinishReason.LENGTH
