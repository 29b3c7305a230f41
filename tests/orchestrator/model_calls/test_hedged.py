"""Two calls for one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, FinishReason, TextChunk
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.runs import Usage
from tests.orchestrator.model_calls.given import (
    POLICY,
    Calls,
    answer,
    down,
    guarded,
    request,
    said,
    text_of,
    until,
)

HEDGING = replace(POLICY, max_attempts=1, hedge_after_s=0.01)


def calls(*errors: Exception | None, waits: Callable[[int], bool] = lambda _: False) -> Calls:
    """Call n raises its error, if it has one, or says "n"; some first wait for ever."""

    async def one(number: int, asked: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        asked.meter.usage = Usage(prompt_tokens=10)
        if waits(number):
            await asyncio.Event().wait()
        if number <= len(errors) and (error := errors[number - 1]) is not None:
            await asyncio.sleep(0.05)
            raise error
        yield TextChunk(str(number))
        asked.meter.usage = usage = Usage(prompt_tokens=10, completion_tokens=1)
        yield ChatFinished(FinishReason.STOP, usage)

    return Calls(one)


async def test_a_request_without_an_answer_is_sent_again_and_the_slow_call_closed() -> None:
    model = calls(waits=lambda number: number == 1)
    given = guarded(model, HEDGING)
    async with aclosing(given.guarded.chat(request(session="s"))) as chunks:
        first = await anext(chunks)
        assert first == TextChunk("2")
        assert model.open == 1
    assert given.figure("fleet_model_hedges_total", model="m") == 1
    assert [each.session_id for each in model.requests] == ["s", ""]
    assert model.open == 0


async def test_both_calls_are_charged() -> None:
    given = guarded(calls(waits=lambda number: number == 1), HEDGING)
    asked = request()
    chunks = await answer(given.guarded, asked)
    assert isinstance(chunks[-1], ChatFinished)
    assert chunks[-1].usage == Usage(prompt_tokens=20, completion_tokens=1)
    assert asked.meter.usage == chunks[-1].usage


async def test_both_calls_are_charged_when_nobody_waits_for_them_any_more() -> None:
    model = calls(waits=lambda _: True)
    given = guarded(model, HEDGING)
    asked = request()
    running = asyncio.create_task(answer(given.guarded, asked))
    await until(lambda: model.open == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert asked.meter.usage == Usage(prompt_tokens=20)
    assert model.open == 0


async def test_one_that_answers_in_time_is_not_sent_again() -> None:
    model = calls()
    assert await said(guarded(model, replace(HEDGING, hedge_after_s=60.0)).guarded) == "1"
    assert len(model.requests) == 1


async def test_without_a_time_nothing_is_sent_twice() -> None:
    model = calls(waits=lambda number: number == 1)
    running = asyncio.create_task(said(guarded(model).guarded))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(running, 0.1)
    assert len(model.requests) == 1


async def test_the_failure_of_one_leaves_the_other_to_answer() -> None:
    model = calls(None, down(), waits=lambda number: number == 1)
    running = asyncio.create_task(answer(guarded(model, HEDGING).guarded))
    done, _ = await asyncio.wait({running}, timeout=0.2)
    assert not done
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    second = calls(down())
    assert text_of(await answer(guarded(second, HEDGING).guarded)) == "2"


async def test_when_both_fail_the_caller_is_told() -> None:
    with pytest.raises(Unavailable, match="down"):
        await said(guarded(calls(down(), down()), HEDGING).guarded)


async def test_a_wrong_request_is_not_waited_for_twice() -> None:
    model = calls(InvalidInput("wrong"), waits=lambda number: number == 2)
    with pytest.raises(InvalidInput):
        await said(guarded(model, HEDGING).guarded)
    assert model.open == 0


async def test_at_the_models_limit_nothing_is_sent_twice() -> None:
    model = calls(waits=lambda _: True)
    given = guarded(model, HEDGING)
    running = [asyncio.create_task(said(given.guarded, request("narrow"))) for _ in range(2)]
    await asyncio.wait(running, timeout=0.1)
    assert len(model.requests) == 2
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
