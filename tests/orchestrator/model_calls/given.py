"""A guarded model, its clock and its counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatRequest, Meter, TextChunk
from orchestrator.domain.errors import Remedy, Unavailable
from orchestrator.domain.messages import Message, Role
from orchestrator.execution.breaker import BreakerPolicy
from orchestrator.model_calls.gate import GuardPolicy
from orchestrator.model_calls.guarded import Guarded
from orchestrator.model_calls.metrics import GuardMetrics
from orchestrator.ports.models import LanguageModel

CATALOGUE = {"m": ModelEntry(name="m"), "narrow": ModelEntry(name="narrow", max_in_flight=2)}
POLICY = GuardPolicy(max_attempts=3, breaker=BreakerPolicy(failures=4, rest_s=5.0))


class Clock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Given:
    guarded: Guarded
    clock: Clock
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def guarded(
    inner: LanguageModel,
    policy: GuardPolicy = POLICY,
    catalogue: Mapping[str, ModelEntry] = CATALOGUE,
) -> Given:
    clock, registry = Clock(), CollectorRegistry()
    metrics = GuardMetrics(registry)
    made = Guarded(inner, catalogue, metrics, policy, now=clock, sleep=clock.sleep)
    return Given(made, clock, registry)


def request(model: str = "m", *, session: str = "") -> ChatRequest:
    message = Message(role=Role.USER, content="hi")
    return ChatRequest(model=model, messages=(message,), session_id=session, meter=Meter())


async def answer(model: LanguageModel, asked: ChatRequest | None = None) -> list[ChatChunk]:
    async with aclosing(model.chat(asked or request())) as chunks:
        return [chunk async for chunk in chunks]


async def said(model: LanguageModel, asked: ChatRequest | None = None) -> str:
    return text_of(await answer(model, asked))


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - of whatever the test says
            await asyncio.sleep(0.001)


def text_of(chunks: list[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def down(remedy: Remedy = Remedy.RETRY_HERE) -> Unavailable:
    return Unavailable("down", reason="MODEL_UNAVAILABLE", remedy=remedy)


def limited(retry_after_s: float | None) -> Unavailable:
    return Unavailable("slow down", reason="RATE_LIMITED", retry_after_s=retry_after_s)


class Calls(LanguageModel):
    """Answers each call with what a function of its number, from 1, and its request yields."""

    def __init__(
        self, answers: Callable[[int, ChatRequest], AsyncGenerator[ChatChunk, None]]
    ) -> None:
        self._answers = answers
        self.requests: list[ChatRequest] = []
        self.open = 0

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        self.requests.append(request)
        self.open += 1
        try:
            async with aclosing(self._answers(len(self.requests), request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self.open -= 1

    async def ready(self, model: str) -> bool:
        return True
