"""What a caller sees of a model that fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.errors import InvalidInput, Remedy, Unavailable
from tests.orchestrator.model_calls.given import (
    POLICY,
    answer,
    down,
    guarded,
    limited,
    request,
    said,
    until,
)


async def test_a_failure_of_the_moment_is_tried_again_and_not_seen() -> None:
    model = ScriptedLanguageModel([[down()], [down()], ["hello"]])
    given = guarded(model)
    assert await said(given.guarded) == "hello"
    assert given.figure("fleet_model_retries_total", model="m") == 2
    first, second = given.clock.slept
    assert 0 <= first <= 0.2
    assert 0 <= second <= 0.4


async def test_after_the_last_try_the_error_says_to_take_another_model() -> None:
    model = ScriptedLanguageModel(lambda _: [down()])
    with pytest.raises(Unavailable, match="down") as raised:
        await said(guarded(model).guarded)
    assert raised.value.remedy is Remedy.TRY_ANOTHER
    assert len(model.requests) == 3


async def test_what_was_streamed_is_never_repeated() -> None:
    model = ScriptedLanguageModel([["Hel", down()], ["Hello"]])
    with pytest.raises(Unavailable):
        await said(guarded(model).guarded)
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "error", [InvalidInput("wrong"), down(Remedy.TRY_ANOTHER), down(Remedy.GIVE_UP)]
)
async def test_what_a_second_try_can_not_mend_is_not_tried_again(error: Exception) -> None:
    model = ScriptedLanguageModel([[error]])
    with pytest.raises(type(error)):
        await said(guarded(model).guarded)
    assert len(model.requests) == 1


async def test_a_short_wait_that_the_provider_asks_for_is_sat_out() -> None:
    model = ScriptedLanguageModel([[limited(1.5)], ["hello"]])
    given = guarded(model)
    assert await said(given.guarded) == "hello"
    (slept,) = given.clock.slept
    assert 1.5 <= slept <= 1.7
    assert given.figure("fleet_model_rate_limits_total", model="m") == 1
    assert not given.guarded.unready()


async def test_for_a_long_wait_the_model_is_left_alone_until_then() -> None:
    model = ScriptedLanguageModel([[limited(30.0)], ["hello"]])
    given = guarded(model)
    with pytest.raises(Unavailable) as raised:
        await said(given.guarded)
    assert (raised.value.remedy, raised.value.retry_after_s) == (Remedy.TRY_ANOTHER, 30.0)
    assert given.guarded.unready() == {"m": "rate limited for 30 s"}
    assert not await given.guarded.ready("m")
    with pytest.raises(Unavailable, match="m is rate limited for 30 s"):
        await said(given.guarded)
    assert len(model.requests) == 1
    given.clock.now += 30.0
    assert await given.guarded.ready("m")
    assert await said(given.guarded) == "hello"


async def test_a_shorter_wait_that_is_told_later_ends_no_longer_one() -> None:
    gate = asyncio.Event()
    model = ScriptedLanguageModel([[gate, limited(3.0)], [limited(30.0)]])
    given = guarded(model)
    first = asyncio.create_task(said(given.guarded))
    await until(lambda: len(model.requests) == 1)
    with pytest.raises(Unavailable):
        await said(given.guarded)
    gate.set()
    with pytest.raises(Unavailable):
        await first
    assert given.guarded.unready() == {"m": "rate limited for 30 s"}


async def test_a_limit_that_names_no_wait_is_tried_again_and_then_left_alone() -> None:
    model = ScriptedLanguageModel(lambda _: [limited(None)])
    given = guarded(model)
    with pytest.raises(Unavailable):
        await said(given.guarded)
    assert len(model.requests) == 3
    assert given.guarded.unready() == {"m": "rate limited for 5 s"}


async def test_a_limit_is_no_failure_of_the_model() -> None:
    model = ScriptedLanguageModel(lambda _: [limited(0.0)])
    given = guarded(model)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await said(given.guarded)
        given.clock.now += 5.0
    assert given.figure("fleet_model_circuit", model="m", state="closed") == 1


async def test_a_model_that_keeps_failing_is_not_asked_until_it_has_rested() -> None:
    broken = True

    def turn(_: object) -> Turn:
        return [down()] if broken else ["hello"]

    model = ScriptedLanguageModel(turn)
    given = guarded(model)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await said(given.guarded)
    asked = len(model.requests)
    assert asked == 4
    assert given.guarded.unready() == {"m": "resting for 5 s after it failed several times"}
    assert given.figure("fleet_model_circuit", model="m", state="open") == 1
    with pytest.raises(Unavailable, match="m is resting") as raised:
        await said(given.guarded)
    assert raised.value.remedy is Remedy.TRY_ANOTHER
    assert len(model.requests) == asked
    broken = False
    given.clock.now += 5.0
    assert not given.guarded.unready()
    assert await said(given.guarded) == "hello"
    assert given.figure("fleet_model_circuit", model="m", state="closed") == 1


async def test_one_request_probes_and_its_first_word_lets_the_others_in() -> None:
    gate = asyncio.Event()
    broken = True

    def turn(_: object) -> Turn:
        return [down()] if broken else [gate, "first", asyncio.Event()]

    given = guarded(ScriptedLanguageModel(turn))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await said(given.guarded)
    broken = False
    given.clock.now += 5.0
    async with aclosing(given.guarded.chat(request())) as probing:
        first = asyncio.ensure_future(anext(probing))
        await asyncio.sleep(0)
        assert given.figure("fleet_model_circuit", model="m", state="half_open") == 1
        with pytest.raises(Unavailable, match="resting"):
            await said(given.guarded)
        gate.set()
        await first
        assert not given.guarded.unready()


async def test_a_probe_whose_first_word_comes_late_lets_the_others_in_as_well() -> None:
    gate = asyncio.Event()
    broken = True

    def turn(_: object) -> Turn:
        return [down()] if broken else [gate, "first"]

    given = guarded(ScriptedLanguageModel(turn))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await said(given.guarded)
    broken = False
    given.clock.now += 5.0
    async with aclosing(given.guarded.chat(request())) as probing:
        first = asyncio.ensure_future(anext(probing))
        await asyncio.sleep(0)
        given.clock.now += 17.0
        assert "resting" in given.guarded.unready()["m"]
        gate.set()
        await first
        assert not given.guarded.unready()
        assert given.figure("fleet_model_circuit", model="m", state="closed") == 1


async def test_a_probe_that_is_stopped_lets_the_next_one_go() -> None:
    broken = True

    def turn(_: object) -> Turn:
        return [down()] if broken else [asyncio.Event()]

    model = ScriptedLanguageModel(turn)
    given = guarded(model)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await said(given.guarded)
    broken = False
    given.clock.now += 5.0
    for _ in range(2):
        asked = len(model.requests)
        probing = asyncio.create_task(answer(given.guarded))
        await until(lambda: len(model.requests) > asked)  # noqa: B023 - awaited here
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)


async def test_a_wrong_request_says_nothing_of_the_model() -> None:
    model = ScriptedLanguageModel(lambda _: [InvalidInput("wrong")])
    given = guarded(model)
    for _ in range(6):
        with pytest.raises(InvalidInput):
            await said(given.guarded)
    assert not given.guarded.unready()


async def test_at_its_limit_a_model_counts_as_full_and_a_request_that_comes_anyhow_waits() -> None:
    gate = asyncio.Event()
    model = ScriptedLanguageModel(lambda _: [gate, "hello"])
    given = guarded(model)
    running = [asyncio.create_task(said(given.guarded, request("narrow"))) for _ in range(3)]
    await until(lambda: len(model.requests) == 2)
    assert given.guarded.unready() == {"narrow": "full with 2 requests in flight"}
    assert len(model.requests) == 2
    gate.set()
    assert await asyncio.gather(*running) == ["hello"] * 3
    assert not given.guarded.unready()


async def test_too_many_that_wait_for_a_full_model_are_sent_to_another() -> None:
    gate = asyncio.Event()
    model = ScriptedLanguageModel(lambda _: [gate, "hello"])
    given = guarded(model, replace(POLICY, max_waiting=1))
    running = [asyncio.create_task(said(given.guarded, request("narrow"))) for _ in range(3)]
    await until(lambda: len(model.requests) == 2)
    with pytest.raises(Unavailable, match="narrow is full with 2 requests") as raised:
        await said(given.guarded, request("narrow"))
    assert raised.value.remedy is Remedy.TRY_ANOTHER
    gate.set()
    assert await asyncio.gather(*running) == ["hello"] * 3


async def test_closing_the_answer_stops_the_model() -> None:
    model = ScriptedLanguageModel(lambda _: ["one", asyncio.Event()])
    given = guarded(model)
    async with aclosing(given.guarded.chat(request())) as chunks:
        await anext(chunks)
    assert model.stopped == 1
