"""A cache in front of scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.agents import Sampling
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    Meter,
    TextChunk,
)
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import CacheHit
from orchestrator.domain.messages import Message, Role
from orchestrator.model_calls.cache_metrics import CacheMetrics
from orchestrator.model_calls.cached import Cached
from orchestrator.model_calls.leases import LeaseTimes
from orchestrator.model_calls.semantic import SemanticIndex
from orchestrator.ports.answers import AnswerCache
from orchestrator.ports.models import LanguageModel, ModelVersions

ENTRY = ModelEntry(name="small", model="served_small", input_price=1_000_000)
Script = Iterable[Turn] | Callable[[ChatRequest], Turn]


class Versions(ModelVersions):
    def __init__(self, now: str = "1") -> None:
        self.now = now

    async def version(self, entry: ModelEntry) -> str:
        if not self.now:
            raise Unavailable("nobody can tell")
        return self.now


def request(text: str = "What is six times seven?", **changed: Any) -> ChatRequest:
    said = (
        Message(role=Role.SYSTEM, content="Be brief."),
        Message(role=Role.USER, content=text, run_id="run_1"),
    )
    asked = ChatRequest("small", said, sampling=Sampling(), tenant="acme")
    return replace(asked, **{"meter": Meter(), **changed})


@asynccontextmanager
async def caching(
    inner: LanguageModel | Script,
    answers: AnswerCache | None = None,
    *,
    entry: ModelEntry = ENTRY,
    versions: ModelVersions | None = None,
    times: LeaseTimes = LeaseTimes(),
    semantic: SemanticIndex | None = None,
    generation: str = "",
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[Cached]:
    model = inner if isinstance(inner, LanguageModel) else ScriptedLanguageModel(inner)
    async with Cached(
        model,
        answers or MemoryAnswers(),
        catalogue={entry.name: entry},
        versions=versions or Versions(),
        metrics=CacheMetrics(registry or CollectorRegistry()),
        semantic=semantic,
        times=times,
        generation=generation,
    ) as cached:
        yield cached


async def said(model: LanguageModel, asked: ChatRequest) -> list[ChatChunk]:
    async with aclosing(model.chat(asked)) as chunks:
        return [chunk async for chunk in chunks]


async def text_of(model: LanguageModel, asked: ChatRequest) -> str:
    return "".join(c.text for c in await said(model, asked) if isinstance(c, TextChunk))


async def hit_of(model: LanguageModel, asked: ChatRequest) -> CacheHit | None:
    """Asks; says what kind of hit it was."""
    last = (await said(model, asked))[-1]
    assert isinstance(last, ChatFinished)
    return last.cached.hit if last.cached else None


async def stored(cached: Cached) -> None:
    """Returns when nothing is on its way any more."""
    await until(lambda: not cached.in_the_air)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.002)
