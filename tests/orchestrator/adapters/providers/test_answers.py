"""What becomes of an answer's stream."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import replace

import pytest

from orchestrator.domain.allowance import Allowance
from orchestrator.domain.chat import ChatRequest, FinishReason, MalformedToolCall, TextChunk
from orchestrator.domain.errors import Exhausted, InvalidInput, Remedy, Unavailable
from orchestrator.domain.runs import Usage
from tests.orchestrator.adapters.providers.dialects import (
    ASKED,
    CALCULATOR,
    DIALECTS,
    OPENAI,
    Call,
    Dialect,
    ask,
)
from tests.scripted_http import Reply, ScriptedServer, event

both = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
WITH_TOOLS = replace(ASKED, tools=(CALCULATOR,))


@both
async def test_an_answer_is_streamed_with_its_usage_and_its_reason(dialect: Dialect) -> None:
    reply = dialect.reply("Ray", "leigh ", "scattering — Streuung")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        answered = await ask(models)

    assert answered.text == "Rayleigh scattering — Streuung"
    assert answered.finished.reason is FinishReason.STOP
    assert answered.finished.usage == Usage(
        prompt_tokens=11, cached_prompt_tokens=7, completion_tokens=4
    )
    assert 0 < answered.finished.ttft_ms <= answered.finished.inference_ms
    assert [request.path for request in server.requests] == [dialect.path]


@both
async def test_each_piece_is_passed_on_before_the_next_one_comes(dialect: Dialect) -> None:
    more = asyncio.Event()
    whole = dialect.answer("now", "later")
    at = next(i for i, part in enumerate(whole) if b'"later"' in part)
    server = ScriptedServer([Reply([*whole[:at], more, *whole[at:]])])
    async with (
        server,
        dialect.connected(server) as models,
        aclosing(models.chat(ASKED)) as chunks,
    ):
        assert await anext(chunks) == TextChunk("now")
        more.set()
        assert await anext(chunks) == TextChunk("later")


@both
async def test_an_answer_that_reached_its_limit_says_so(dialect: Dialect) -> None:
    reply = dialect.reply("Ray", finish="length")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        assert (await ask(models)).finished.reason is FinishReason.LENGTH


@both
async def test_tool_calls_are_put_together_from_their_pieces(dialect: Dialect) -> None:
    calls = [Call("calculator", ['{"expr', 'ession": "437', ' * 12"}']), Call("clock", [])]
    reply = dialect.reply("Let me see.", calls=calls, finish="tools")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        answered = await ask(models, WITH_TOOLS)

    assert answered.text == "Let me see."
    assert answered.calls == (("calculator", '{"expression": "437 * 12"}'), ("clock", "{}"))
    assert answered.finished.reason is FinishReason.TOOL_CALLS


@both
@pytest.mark.parametrize(
    ("finish", "arguments", "why"),
    [
        ("tools", ['{"expression": "1 +'], "not a JSON object"),
        ("tools", ["[1]"], "not a JSON object"),
        ("length", ['{"expression": "1 +'], "cut off by its token limit"),
        ("tools", ['{"expression": "' + "1" * 40_000], "longer than"),
    ],
)
async def test_a_call_that_cannot_be_read_says_why_and_what_it_took(
    dialect: Dialect, finish: str, arguments: list[str], why: str
) -> None:
    reply = dialect.reply("So:", calls=[Call("calculator", arguments)], finish=finish)
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(MalformedToolCall, match=why) as raised:
            await ask(models, WITH_TOOLS)

    assert raised.value.usage.prompt_tokens > 0
    assert raised.value.usage.completion_tokens > 0
    assert raised.value.said.startswith('So:\n{"name": "calculator", "arguments": ')


@both
async def test_a_tool_with_an_impossible_name_cannot_be_read(dialect: Dialect) -> None:
    reply = dialect.reply(calls=[Call("no such tool!", ["{}"])], finish="tools")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(MalformedToolCall, match='"name"'):
            await ask(models, WITH_TOOLS)


@both
async def test_what_the_content_filter_stopped_is_no_answer(dialect: Dialect) -> None:
    reply = dialect.reply("I", finish="filter")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(InvalidInput, match="content filter") as raised:
            await ask(models)

    assert raised.value.reason == "CONTENT_FILTERED"
    assert raised.value.remedy is Remedy.GIVE_UP


@both
async def test_without_a_reason_to_end_the_answer_was_cut(dialect: Dialect) -> None:
    reply = dialect.reply("Ray", finish="", usage=None)
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        with pytest.raises(Unavailable, match="broke off its answer") as raised:
            await ask(models)

    assert raised.value.remedy is Remedy.RETRY_HERE


@both
async def test_who_stops_an_answer_knows_what_it_took_so_far(dialect: Dialect) -> None:
    whole = dialect.answer("word " * 40, "rest")
    at = next(i for i, part in enumerate(whole) if b'"rest"' in part)
    request = replace(ASKED)
    server = ScriptedServer([Reply([*whole[:at], asyncio.Event()])])
    async with server, dialect.connected(server) as models:
        async with aclosing(models.chat(request)) as chunks:
            await anext(chunks)
            taken = request.meter.usage
        await asyncio.wait_for(server.client_left.wait(), 5)

    assert taken.prompt_tokens > 0
    assert taken.completion_tokens == 50  # 200 bytes


@both
async def test_a_prompt_that_takes_all_that_is_left_is_not_sent(dialect: Dialect) -> None:
    poor = replace(ASKED, allowance=Allowance(tokens=5))
    server = ScriptedServer([dialect.reply("Ray")])
    async with server, dialect.connected(server) as models:
        with pytest.raises(Exhausted, match="too little"):
            await ask(models, poor)

    assert not server.requests


@both
async def test_an_answer_gets_what_the_allowance_leaves(dialect: Dialect) -> None:
    server = ScriptedServer([dialect.reply("Ray")])
    async with server, dialect.connected(server) as models:
        await ask(models, replace(ASKED, allowance=Allowance(tokens=50)))

    (received,) = server.requests
    assert 0 < received.json["max_tokens"] < 50


@both
async def test_a_model_of_another_name_is_refused(dialect: Dialect) -> None:
    async with ScriptedServer([dialect.reply()]) as server, dialect.connected(server) as models:
        with pytest.raises(InvalidInput, match="not in the catalogue"):
            await ask(models, ChatRequest("other", ASKED.messages))


async def test_the_mean_probability_of_the_tokens_is_told_when_asked_for() -> None:
    said = [
        OPENAI.chunk({"delta": {"content": "yes"}, "logprobs": {"content": [{"logprob": logprob}]}})
        for logprob in (math.log(0.5), math.log(0.125))
    ]
    reply = Reply([*said, *OPENAI.answer()])
    async with ScriptedServer([reply]) as server, OPENAI.connected(server) as models:
        sure = await ask(models, replace(ASKED, confidence=True))

    assert sure.finished.confidence == pytest.approx(0.25)
    assert server.requests[0].json["logprobs"] is True


async def test_a_refusal_in_words_is_what_the_user_reads() -> None:
    reply = Reply([OPENAI.chunk({"delta": {"refusal": "I can't."}}), *OPENAI.answer()])
    async with ScriptedServer([reply]) as server, OPENAI.connected(server) as models:
        assert (await ask(models)).text == "I can't."


async def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    """As some servers do, which send each call whole."""
    whole = [
        {"id": f"c{number}", "function": {"name": "calculator", "arguments": f'{{"n": {number}}}'}}
        for number in (1, 2)
    ]
    parts = [OPENAI.chunk({"delta": {"tool_calls": [{"index": 0, **call}]}}) for call in whole]
    parts += [OPENAI.chunk({"delta": {"tool_calls": [{**whole[0], "id": "c3"}]}})]
    reply = Reply([*parts, *OPENAI.answer(finish="tools")])
    async with ScriptedServer([reply]) as server, OPENAI.connected(server) as models:
        answered = await ask(models, WITH_TOOLS)

    assert [arguments for _, arguments in answered.calls] == ['{"n": 1}', '{"n": 2}', '{"n": 1}']


async def test_a_server_that_tells_no_usage_is_charged_by_estimate() -> None:
    reply = OPENAI.reply("word " * 40, usage=None)
    async with ScriptedServer([reply]) as server, OPENAI.connected(server) as models:
        usage = (await ask(models)).finished.usage

    assert usage.prompt_tokens >= len("Why is the sky blue?") // 4
    assert usage.completion_tokens == 50


@both
@pytest.mark.parametrize(
    "piece",
    ['{"choices": [', "5", '{"choices": 5, "type": "message_start", "message": 5}', "\udcff"],
    ids=["cut JSON", "no object", "another shape", "no UTF-8"],
)
async def test_a_piece_that_cannot_be_read_is_a_failure_of_the_provider(
    dialect: Dialect, piece: str
) -> None:
    bad = b"event: message_start\ndata: " + piece.encode("utf-8", "surrogateescape") + b"\n\n"
    good = dialect.answer("Ray")
    async with ScriptedServer([Reply([bad, *good])]) as server, dialect.connected(server) as models:
        with pytest.raises(Unavailable, match="can't be read") as raised:
            await ask(models)

    assert raised.value.remedy is Remedy.RETRY_HERE


async def test_comments_and_unknown_events_are_passed_over() -> None:
    parts = [b": keep-alive\n\n", *OPENAI.answer("Ray")]
    async with ScriptedServer([Reply(parts)]) as server, OPENAI.connected(server) as models:
        assert (await ask(models)).text == "Ray"
    strange = event({"type": "news", "anything": 1}, "news")
    reply = Reply([strange, *DIALECTS[1].answer("Ray")])
    async with ScriptedServer([reply]) as server, DIALECTS[1].connected(server) as models:
        assert (await ask(models)).text == "Ray"


@both
async def test_half_a_character_is_no_obstacle(dialect: Dialect) -> None:
    reply = dialect.reply("a\ud83d", "é")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        assert (await ask(models)).text == "a?é"
