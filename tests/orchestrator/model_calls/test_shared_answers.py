"""One answer for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.allowance import Allowance
from orchestrator.domain.chat import ChatFinished, ChatRequest, MalformedToolCall, TextChunk
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import CacheHit
from orchestrator.domain.runs import Usage
from orchestrator.model_calls.cached import Cached
from orchestrator.model_calls.leases import LeaseTimes
from tests.orchestrator.model_calls.given_cache import (
    caching,
    hit_of,
    request,
    said,
    text_of,
    until,
)

SHARED = CacheHit.SHARED


class Listening:
    """Somebody who reads an answer, in a task of its own."""

    def __init__(self, model: Cached, asked: ChatRequest | None = None) -> None:
        self.request = asked or request()
        self.heard: list[str] = []
        self.last: ChatFinished | None = None
        self._model = model
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self._model.chat(self.request)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, TextChunk):
                    self.heard.append(chunk.text)
                elif isinstance(chunk, ChatFinished):
                    self.last = chunk

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def hit(self) -> CacheHit | None:
        assert self.last is not None
        return self.last.cached.hit if self.last.cached else None


async def test_who_comes_later_hears_what_was_said_and_then_what_is_said() -> None:
    go_on = asyncio.Event()
    model = ScriptedLanguageModel([["one", " two", go_on, " three"]])
    async with caching(model) as cached:
        first = Listening(cached)
        await until(lambda: len(first.heard) == 2)
        second = Listening(cached)
        await until(lambda: second.heard == ["one", " two"])
        go_on.set()
        await asyncio.gather(first.task, second.task)
    assert first.heard == second.heard == ["one", " two", " three"]
    assert (first.hit, second.hit) == (None, SHARED)
    assert len(model.requests) == 1


async def test_one_pays_for_all() -> None:
    go_on = asyncio.Event()
    async with caching([["one", go_on, " two"]]) as cached:
        all_of_them = [Listening(cached) for _ in range(5)]
        await until(lambda: all(each.heard for each in all_of_them))
        go_on.set()
        await asyncio.gather(*(each.task for each in all_of_them))
    assert [each.request.meter.cached for each in all_of_them] == [False] + [True] * 4
    assert len({each.request.meter.usage for each in all_of_them}) == 1


async def test_a_slow_reader_holds_up_nobody() -> None:
    async with caching([[f"{n}," for n in range(500)]]) as cached:
        slow = cached.chat(request())
        assert await anext(slow) == TextChunk("0,")
        quick = Listening(cached)
        await quick.task
        assert len(quick.heard) == 500
        assert len([chunk async for chunk in slow]) == 500


async def test_the_answer_goes_on_for_the_others_when_the_first_leaves() -> None:
    go_on = asyncio.Event()
    model = ScriptedLanguageModel([["one", go_on, " two"]])
    async with caching(model) as cached:
        first = Listening(cached)
        await until(lambda: bool(first.heard))
        others = [Listening(cached) for _ in range(2)]
        await until(lambda: all(other.heard for other in others))
        await first.leave()
        go_on.set()
        await asyncio.gather(*(other.task for other in others))
        assert [other.heard for other in others] == [["one", " two"]] * 2
        assert await hit_of(cached, request()) is CacheHit.EXACT
    assert (len(model.requests), model.stopped) == (1, 0)
    assert first.request.meter.usage == Usage()
    assert [other.hit for other in others] == [None, SHARED]
    assert [other.request.meter.cached for other in others] == [False, True]
    assert others[0].request.meter.usage.completion_tokens == 2


async def test_the_engine_stops_when_the_last_one_leaves() -> None:
    model = ScriptedLanguageModel([["one", asyncio.Event()], ["anew"]])
    async with caching(model) as cached:
        listeners = [Listening(cached) for _ in range(3)]
        await until(lambda: all(each.heard for each in listeners))
        for each in listeners[:2]:
            await each.leave()
        assert model.stopped == 0
        await listeners[2].leave()
        assert model.stopped == 1
        assert await text_of(cached, request()) == "anew"
    usage = [each.request.meter.usage.completion_tokens for each in listeners]
    assert usage == [0, 0, 1]
    assert not listeners[2].request.meter.cached


async def test_who_asks_while_a_stopped_answer_still_ends_gets_one_of_its_own() -> None:
    ending = asyncio.Event()

    class SlowToStop(ScriptedLanguageModel):
        async def chat(self, request: ChatRequest):  # type: ignore[no-untyped-def]
            self.requests.append(request)
            try:
                yield TextChunk("one")
                if len(self.requests) == 1:
                    await asyncio.Event().wait()
                yield ChatFinished("stop", Usage())  # type: ignore[arg-type]
            finally:
                if len(self.requests) == 1:
                    await ending.wait()

    model = SlowToStop([])
    async with caching(model) as cached:
        first = Listening(cached)
        await until(lambda: bool(first.heard))
        first.task.cancel()
        await until(lambda: first.task.cancelling() > 0)
        await asyncio.sleep(0)
        second = Listening(cached)
        await until(lambda: len(model.requests) == 1)
        ending.set()
        await second.task
        assert second.heard == ["one"]
        await asyncio.gather(first.task, return_exceptions=True)


async def test_an_error_reaches_all_and_the_next_one_asks_again() -> None:
    fail = asyncio.Event()
    gone = Unavailable("gone", reason="MODEL_UNAVAILABLE", retry_after_s=3.0)
    model = ScriptedLanguageModel([["one", fail, gone], ["anew"]])
    async with caching(model) as cached:
        listeners = [Listening(cached) for _ in range(3)]
        await until(lambda: all(each.heard for each in listeners))
        fail.set()
        raised = await asyncio.gather(*(e.task for e in listeners), return_exceptions=True)
        assert [vars(error) for error in raised] == [vars(gone)] * 3
        assert len({id(error) for error in raised}) == 3
        assert await text_of(cached, request()) == "anew"


async def test_a_defect_below_shows_none_of_its_words() -> None:
    async with caching([[ValueError("prompt: xyzzy")]]) as cached:
        with pytest.raises(Exception, match="defect") as raised:
            await said(cached, request())
    assert "xyzzy" not in str(raised.value)


async def test_a_call_that_cannot_be_read_reaches_all_and_one_pays() -> None:
    fail = asyncio.Event()
    model = ScriptedLanguageModel([["Hm. ", fail, "<tool_call>{nonsense</tool_call>"], ["Fine."]])
    async with caching(model) as cached:
        listeners = [Listening(cached) for _ in range(3)]
        await until(lambda: all(each.heard for each in listeners))
        fail.set()
        raised = await asyncio.gather(*(e.task for e in listeners), return_exceptions=True)
        assert all(isinstance(error, MalformedToolCall) for error in raised)
        assert [each.request.meter.cached for each in listeners] == [False, True, True]
        assert await text_of(cached, request()) == "Fine."


async def test_requests_with_other_budgets_do_not_share_what_is_in_the_air() -> None:
    model = ScriptedLanguageModel(lambda _: ["one two three"])
    async with caching(model) as cached:
        texts = await asyncio.gather(
            text_of(cached, request(allowance=Allowance(tokens=8))),
            text_of(cached, request()),
        )
    assert list(texts) == ["one", "one two three"]


async def test_its_end_breaks_off_what_is_in_the_air() -> None:
    model = ScriptedLanguageModel([["one", asyncio.Event()]])
    async with caching(model) as cached:
        listening = Listening(cached)
        await until(lambda: bool(listening.heard))
    (error,) = await asyncio.gather(listening.task, return_exceptions=True)
    assert isinstance(error, Unavailable)
    assert model.stopped == 1


async def test_another_process_waits_for_the_answer_that_is_in_the_air() -> None:
    answers, go_on = MemoryAnswers(), asyncio.Event()
    model = ScriptedLanguageModel([["one", go_on, " two"]])
    async with caching(model, answers) as here, caching([], answers) as there:
        first = Listening(here)
        await until(lambda: bool(first.heard))
        second = Listening(there)
        await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.gather(first.task, second.task)
    assert second.heard == ["one two"]
    assert second.hit is SHARED


async def test_another_process_asks_when_the_first_one_fails() -> None:
    answers, fail = MemoryAnswers(), asyncio.Event()
    broken = ScriptedLanguageModel([["one", fail, Unavailable("gone")]])
    async with caching(broken, answers) as here, caching([["all"]], answers) as there:
        first = Listening(here)
        await until(lambda: bool(first.heard))
        second = Listening(there)
        fail.set()
        await asyncio.gather(first.task, second.task, return_exceptions=True)
    assert (second.heard, second.hit) == (["all"], None)


async def test_another_process_asks_when_the_first_one_died() -> None:
    answers = MemoryAnswers()
    times = LeaseTimes(lease_s=0.1)
    dying = ScriptedLanguageModel([["one", asyncio.Event()]])

    class Dead(MemoryAnswers):
        """It took the lease, and says nothing any more."""

        async def claim(self, *given: Any, **named: Any) -> bool:
            return await answers.claim(*given, **named) is True

        async def extend(self, *_: object, **__: object) -> None: ...

        async def release(self, *_: object, **__: object) -> None: ...

    async with (
        caching(dying, Dead(), times=times) as here,
        caching([["all"]], answers, times=times) as there,
    ):
        first = Listening(here)
        await until(lambda: bool(first.heard))
        assert await text_of(there, request()) == "all"
        await first.leave()


async def test_a_lease_is_held_for_as_long_as_the_answer_takes() -> None:
    answers, go_on = MemoryAnswers(), asyncio.Event()
    times = LeaseTimes(lease_s=0.2)
    model = ScriptedLanguageModel([["one", go_on, " two"]])
    async with caching(model, answers, times=times) as here, caching([], answers) as there:
        first, second = Listening(here), Listening(there)
        await asyncio.sleep(0.6)  # three times as long as a lease that nobody extends
        go_on.set()
        await asyncio.gather(first.task, second.task)
    assert second.heard == ["one two"]


async def test_nobody_waits_for_another_process_for_ever() -> None:
    answers = MemoryAnswers()
    never = ScriptedLanguageModel([["one", asyncio.Event()]])
    impatient = LeaseTimes(wait_s=0.05)
    async with (
        caching(never, answers) as here,
        caching([["all"]], answers, times=impatient) as there,
    ):
        first = Listening(here)
        await until(lambda: bool(first.heard))
        assert await text_of(there, request()) == "all"
        await first.leave()
