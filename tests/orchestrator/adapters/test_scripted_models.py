import asyncio
import math
from contextlib import aclosing

import pytest

from orchestrator.adapters.scripted_models import (
    CERTAIN,
    ScriptedClassifier,
    ScriptedEmbedder,
    ScriptedLanguageModel,
)
from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    FinishReason,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import Internal, InvalidInput, Unavailable
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import Usage

HELLO = ChatRequest("m", (Message(role=Role.USER, content="Say hello to me"),))
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}}</tool_call>'


async def play(model: ScriptedLanguageModel, request: ChatRequest = HELLO) -> list[ChatChunk]:
    async with aclosing(model.chat(request)) as chunks:
        return [chunk async for chunk in chunks]


async def test_turns_are_played_in_order_one_a_request() -> None:
    model = ScriptedLanguageModel([[CALL], ["It is ", "42."]])
    call = ToolCall(call_id="call_1", name="calculator", arguments_json='{"expression": "6 * 7"}')
    assert await play(model) == [
        ToolCallChunk(call),
        ChatFinished(FinishReason.TOOL_CALLS, Usage(prompt_tokens=4, completion_tokens=7)),
    ]
    assert await play(model) == [
        TextChunk("It is"),
        TextChunk(" 42."),
        ChatFinished(FinishReason.STOP, Usage(prompt_tokens=4, completion_tokens=3)),
    ]
    assert model.requests == [HELLO, HELLO]
    with pytest.raises(Internal, match="no turn left"):
        await play(model)


async def test_a_function_makes_the_turn_of_the_request() -> None:
    model = ScriptedLanguageModel(lambda request: [request.messages[-1].content.upper()])
    assert (await play(model))[0] == TextChunk("SAY HELLO TO ME")


async def test_a_turn_can_fail_after_some_text_or_end_by_length() -> None:
    down = Unavailable("gone", reason="MODEL_UNAVAILABLE")
    model = ScriptedLanguageModel([["one", down], ["two", FinishReason.LENGTH, "never"]])
    chunks = model.chat(HELLO)
    assert await anext(chunks) == TextChunk("one")
    with pytest.raises(Unavailable):
        await anext(chunks)
    *text, finished = await play(model)
    assert text == [TextChunk("two")]
    assert isinstance(finished, ChatFinished)
    assert finished.reason is FinishReason.LENGTH


async def test_a_call_that_can_not_be_read_is_raised_with_its_tokens() -> None:
    model = ScriptedLanguageModel([["<tool_call>{oops} and more"]])
    with pytest.raises(MalformedToolCall) as raised:
        await play(model)
    assert raised.value.usage == Usage(prompt_tokens=4, completion_tokens=3)


async def test_a_turn_waits_for_its_event_and_a_closed_one_counts_as_stopped() -> None:
    opened, gate = asyncio.Event(), asyncio.Event()
    model = ScriptedLanguageModel([["one", opened, "two"], ["one", gate]])
    chunks = model.chat(HELLO)
    assert await anext(chunks) == TextChunk("one")
    waiting = asyncio.ensure_future(anext(chunks))
    opened.set()
    assert await waiting == TextChunk("two")
    await play_rest(chunks)
    assert model.stopped == 0
    async with aclosing(model.chat(HELLO)) as second:
        await anext(second)
    assert model.stopped == 1


async def play_rest(chunks: object) -> None:
    async for _ in chunks:  # type: ignore[attr-defined]
        pass


async def test_models_are_ready_unless_told_otherwise() -> None:
    model = ScriptedLanguageModel([])
    model.unready.add("b")
    assert await model.ready("a")
    assert not await model.ready("b")


async def test_the_classifier_gives_what_it_was_given() -> None:
    hard = Classification({"code": 1.0}, {"hard": 1.0}, {"high": 1.0})
    assert await ScriptedClassifier().classify(["a", "b"]) == (CERTAIN, CERTAIN)
    by_text = ScriptedClassifier(lambda text: hard if "!" in text else CERTAIN)
    assert await by_text.classify(["a", "b!"]) == (CERTAIN, hard)


async def test_equal_texts_have_equal_unit_vectors_and_others_do_not() -> None:
    a, b, again = await ScriptedEmbedder().embed(["a", "b", "a"])
    assert a == again != b
    assert len(a) == 384
    assert math.isclose(sum(value * value for value in a), 1.0)


async def test_an_empty_text_is_refused_by_its_place() -> None:
    for call in (ScriptedClassifier().classify, ScriptedEmbedder().embed):
        with pytest.raises(InvalidInput) as raised:
            await call(["fine", " "])
        assert raised.value.field == "texts[1]"
