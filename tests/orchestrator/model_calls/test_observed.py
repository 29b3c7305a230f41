"""What is seen of models while they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    FinishReason,
    TextChunk,
)
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import AnswerCached, CacheHit
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.routing import ModelSignals, crowding
from orchestrator.domain.runs import Usage
from orchestrator.model_calls.decaying import FORGET_S, HALF_LIFE_S, DecayingMean
from orchestrator.model_calls.observed import Observed
from orchestrator.ports.models import EngineGauges, LanguageModel

REQUEST = ChatRequest("small", (Message(role=Role.USER, content="hi"),))
END = ChatFinished(FinishReason.STOP, Usage(prompt_tokens=4, completion_tokens=11))


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


Cue = ChatChunk | float | asyncio.Event | Exception


class Played(LanguageModel):
    """A number is so many milliseconds of the clock."""

    def __init__(self, clock: Clock, *cues: Cue) -> None:
        self._clock = clock
        self.cues = cues

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        for cue in self.cues:
            match cue:
                case float():
                    self._clock.now_s += cue / 1000
                case asyncio.Event():
                    await cue.wait()
                case Exception():
                    raise cue
                case _:
                    yield cue

    async def ready(self, model: str) -> bool:
        return model == "small"


class Waiting(EngineGauges):
    def __init__(self, waiting: int | None) -> None:
        self.count = waiting

    def waiting(self, model: str) -> int | None:
        return self.count


async def answered(observed: Observed, request: ChatRequest = REQUEST) -> list[ChatChunk]:
    return [chunk async for chunk in observed.chat(request)]


def paces(observed: Observed) -> tuple[float | None, float | None]:
    signals = observed.signals("small")
    return signals.ttft_ms, signals.tpot_ms


async def test_the_answer_passes_unchanged_and_is_timed() -> None:
    clock = Clock()
    observed = Observed(Played(clock, 20.0, TextChunk("a"), 50.0, END), clock=clock)
    assert await answered(observed) == [TextChunk("a"), END]
    assert paces(observed) == pytest.approx((20.0, 5.0))
    assert observed.signals("large") == ModelSignals()


async def test_what_the_adapter_timed_counts_more_than_what_came_through() -> None:
    clock = Clock()
    end = ChatFinished(FinishReason.STOP, END.usage, prompt_ms=5, ttft_ms=15, inference_ms=115)
    observed = Observed(Played(clock, 120.0, TextChunk("all at once"), end), clock=clock)
    await answered(observed)
    signals = observed.signals("small")
    assert (signals.ttft_ms, signals.tpot_ms) == (20.0, 10.0)


async def test_requests_are_in_flight_until_they_end_fail_or_are_left() -> None:
    clock, gate = Clock(), asyncio.Event()
    played = Played(clock, TextChunk("a"), gate, END)
    observed = Observed(played, clock=clock)
    ending, left = asyncio.create_task(answered(observed)), observed.chat(REQUEST)
    await anext(left)
    await asyncio.sleep(0)
    assert observed.signals("small").in_flight == 2
    await left.aclose()
    assert observed.signals("small").in_flight == 1
    gate.set()
    await ending
    assert observed.signals("small").in_flight == 0
    played.cues = (Unavailable("gone", reason="MODEL_UNAVAILABLE"),)
    with suppress(Unavailable):
        await answered(observed)
    assert observed.signals("small").in_flight == 0


async def test_failed_stopped_and_cached_answers_are_not_timed() -> None:
    clock = Clock()
    gone = Unavailable("gone", reason="MODEL_UNAVAILABLE")
    played = Played(clock, 20.0, TextChunk("a"), 50.0, gone)
    observed = Observed(played, clock=clock)
    with suppress(Unavailable):
        await answered(observed)
    chunks = observed.chat(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    hit = AnswerCached(model="small", hit=CacheHit.EXACT)
    played.cues = (TextChunk("a"), ChatFinished(FinishReason.STOP, END.usage, cached=hit))
    await answered(observed)
    assert observed.signals("small") == ModelSignals()


async def test_times_under_load_are_told_as_those_of_a_request_alone() -> None:
    clock, gate = Clock(), asyncio.Event()
    played = Played(clock, TextChunk("a"), gate, END)
    observed = Observed(played, Waiting(3), clock=clock)
    others = [asyncio.create_task(answered(observed)) for _ in range(6)]
    await asyncio.sleep(0)
    later, slower = crowding(6, 3)
    played.cues = (20.0 * later, TextChunk("a"), 50.0 * slower, END)
    await answered(observed)
    signals = observed.signals("small")
    assert (signals.in_flight, signals.waiting) == (6, 3)
    assert paces(observed) == pytest.approx((20.0, 5.0))
    gate.set()
    await asyncio.gather(*others)


async def test_an_answer_of_one_token_says_nothing_of_the_further_ones() -> None:
    clock = Clock()
    brief = ChatFinished(FinishReason.STOP, Usage(completion_tokens=1))
    observed = Observed(Played(clock, 20.0, TextChunk("a"), brief), clock=clock)
    await answered(observed)
    assert observed.signals("small").tpot_ms is None


def test_what_was_seen_a_half_life_ago_counts_half() -> None:
    mean = DecayingMean()
    mean.add(10.0, 0.0)
    mean.add(40.0, HALF_LIFE_S)
    assert mean.at(HALF_LIFE_S) == pytest.approx((10.0 * 0.5 + 40.0) / 1.5)
    assert mean.at(HALF_LIFE_S + FORGET_S / 2) == pytest.approx(30.0)


def test_what_nobody_has_measured_for_long_is_not_known_any_more() -> None:
    mean = DecayingMean()
    assert mean.at(0.0) is None
    mean.add(10.0, 0.0)
    assert mean.at(FORGET_S) == 10.0
    assert mean.at(FORGET_S + 1.0) is None
    mean.add(50.0, 100 * FORGET_S)
    assert mean.at(100 * FORGET_S) == pytest.approx(50.0)
