"""The loop with a scripted vLLM."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.llm_serving.coalescing import Coalescing
from backends.llm_serving.engine import Chunk, EngineRequest, Report
from backends.llm_serving.sampling import SamplingParams
from backends.llm_serving.wire import Cancel, Message, Stop
from backends.vllm.loop import Counts, EngineDied, Loop
from backends.vllm.scripted import (
    ScriptedClient,
    ScriptedCompletion,
    ScriptedLogprob,
    ScriptedOutput,
)


def request(number: int, *, stream: bool = True, prompt: str = "x", **params: int) -> EngineRequest:
    return EngineRequest(number, prompt, SamplingParams(**params), stream)  # type: ignore[arg-type]


class Stand:
    def __init__(self, client: ScriptedClient, coalescing: Coalescing) -> None:
        self.client = client
        self.reports: list[Report] = []
        self.loop = Loop(client, self.reports.append, coalescing)

    async def take_in(self, *requests: Message) -> None:
        self.loop.take_in(requests)
        for _ in range(5):
            await asyncio.sleep(0)

    def step(self) -> None:
        self.loop.stepped(self.client.counts())

    def chunks(self, number: int) -> list[Chunk]:
        return [c for report in self.reports for c in report.chunks if c.request_id == number]

    def texts(self, number: int) -> list[str]:
        return [chunk.pieces[0].text for chunk in self.chunks(number)]


@asynccontextmanager
async def opened(
    client: ScriptedClient | None = None, *, max_tokens: int = 3
) -> AsyncIterator[Stand]:
    stand = Stand(client or ScriptedClient(), Coalescing(max_tokens, 1e6, 1e6))
    running = asyncio.create_task(stand.loop.run())
    yield stand
    stand.loop.take_in([Stop()])
    await running


async def test_a_stream_gets_its_first_token_at_once_and_then_several_in_a_message() -> None:
    async with opened() as stand:
        await stand.take_in(request(1))
        for text in "abcdefgh":
            stand.client.say(1, text)
            stand.step()
            stand.loop._step_s = 1e-3
        stand.client.say(1, "i", reason="stop")
        stand.step()
    assert stand.texts(1)[0] == "a"
    assert "".join(stand.texts(1)) == "abcdefghi"
    assert len(stand.texts(1)) == 5
    assert [chunk.final for chunk in stand.chunks(1)] == [False] * 4 + [True]


async def test_a_whole_answer_comes_when_it_is_there() -> None:
    async with opened() as stand:
        await stand.take_in(request(1, stream=False))
        stand.step()
        assert stand.chunks(1) == []
        stand.client.say(1, "all of it", reason="length")
        stand.step()
    [chunk] = stand.chunks(1)
    assert chunk.pieces[0].text == "all of it"
    assert chunk.pieces[0].finish_reason == "length"
    assert (chunk.final, chunk.prompt_tokens) == (True, 3)


async def test_an_answer_that_ends_before_its_request_was_registered_is_not_lost() -> None:
    async with opened() as stand:
        await stand.client.add(request(1))
        stand.client.say(1, "early", reason="stop")
        stand.step()
        await stand.take_in(request(1))
    assert stand.texts(1) == ["early"]


async def test_what_has_no_text_yet_is_held_back_and_counted_later() -> None:
    async with opened(max_tokens=1) as stand:
        await stand.take_in(request(1))
        stand.client.say(1, "")
        stand.step()
        assert stand.chunks(1) == []
        stand.client.say(1, "é")
        stand.step()
    [chunk] = stand.chunks(1)
    assert (chunk.pieces[0].text, chunk.pieces[0].tokens) == ("é", 2)


async def test_a_cancelled_request_is_aborted_and_the_load_falls_before_the_next_step() -> None:
    async with opened() as stand:
        await stand.take_in(request(1), request(2))
        stand.step()
        assert stand.reports[-1].load.running == 2
        stand.loop.take_in([Cancel(1)])
        assert stand.reports[-1].load.running == 1
        await asyncio.sleep(0)
        assert stand.client.aborted == [1]
        stand.client.say(1, "late", reason="stop")
        stand.step()
    assert stand.chunks(1) == []


async def test_a_request_cancelled_while_it_comes_in_is_aborted() -> None:
    async with opened() as stand:
        stand.loop.take_in([request(1), Cancel(1)])
        for _ in range(5):
            await asyncio.sleep(0)
        assert stand.client.aborted == [1]
        stand.loop.stepped(Counts(0, 0, 0.0))
    assert all(report.load[:2] == (0, 0) for report in stand.reports)


async def test_a_request_that_was_cancelled_is_not_refused_either() -> None:
    async with opened(ScriptedClient(dislikes="bad")) as stand:
        await stand.take_in(request(1, prompt="bad"), Cancel(1))
    assert [one for report in stand.reports for one in report.refusals] == []
    assert stand.client.aborted == []
    assert not stand.loop._dropped


async def test_what_the_engine_does_not_take_is_the_callers_fault_and_harms_nobody() -> None:
    async with opened(ScriptedClient(dislikes="bad")) as stand:
        await stand.take_in(request(1, prompt="bad"), request(2))
        stand.client.say(2, "fine", reason="stop")
        stand.step()
    [refusal] = [one for report in stand.reports for one in report.refusals]
    assert (refusal.request_id, refusal.callers_fault) == (1, True)
    assert stand.texts(2) == ["fine"]


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_a_request_that_the_engine_gives_up_is_not_an_answer(reason: str) -> None:
    async with opened() as stand:
        await stand.take_in(request(1))
        stand.client.say(1, "half", reason=reason)
        stand.step()
    [refusal] = [one for report in stand.reports for one in report.refusals]
    assert (refusal.request_id, refusal.callers_fault) == (1, False)
    assert stand.chunks(1) == []


async def test_sequences_of_one_request_come_side_by_side_and_an_ended_one_says_why() -> None:
    async with opened(max_tokens=1) as stand:
        await stand.take_in(request(1, n=2))
        first = ScriptedCompletion(0, "a", [7], finish_reason="stop")
        stand.client.collectors[1].put(ScriptedOutput([first]))
        stand.step()
        stand.client.say(1, "b", index=1, reason="length")
        stand.step()
    shown = [[(p.text, p.finish_reason) for p in chunk.pieces] for chunk in stand.chunks(1)]
    assert shown == [[("a", "stop"), ("", None)], [("", "stop"), ("b", "length")]]


async def test_log_probabilities_hold_what_else_was_likely() -> None:
    async with opened() as stand:
        await stand.take_in(request(1, logprobs=1))
        both = {7: ScriptedLogprob(-0.1, 1, "a"), 9: ScriptedLogprob(-2.0, 2, "b")}
        piece = ScriptedCompletion(0, "a", [7], -0.1, [both], "stop")
        stand.client.collectors[1].put(ScriptedOutput([piece], finished=True))
        stand.step()
    [token] = stand.chunks(1)[0].pieces[0].logprobs or ()
    assert [(one.token_id, one.rank, one.text) for one in token] == [(7, 1, "a"), (9, 2, "b")]
    assert stand.chunks(1)[0].pieces[0].cumulative_logprob == -0.1


async def test_a_dead_engine_ends_the_loop() -> None:
    stand = Stand(ScriptedClient(), Coalescing())
    running = asyncio.create_task(stand.loop.run())
    stand.client.dead = True
    with pytest.raises(EngineDied):
        await running


async def test_an_engine_that_dies_as_a_request_comes_ends_the_loop() -> None:
    stand = Stand(ScriptedClient(), Coalescing())
    running = asyncio.create_task(stand.loop.run())
    stand.client.dying = True
    stand.loop.take_in([request(1)])
    with pytest.raises(EngineDied, match="scripted engine is dying"):
        await running
