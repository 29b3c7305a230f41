import asyncio
import json
import logging
import math
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel
from orchestrator.domain.agents import Sampling
from orchestrator.domain.chat import (
    ChatFinished,
    FinishReason,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
    ToolSchema,
)
from orchestrator.domain.errors import (
    DeadlineExceeded,
    FleetError,
    Internal,
    InvalidInput,
    Unavailable,
)
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.runs import Usage
from tests.orchestrator.adapters.triton.plans import CATALOGUE, answer, is_written, planned, text_of


async def test_text_streams_and_ends_with_the_reason_and_the_tokens(
    language_model: TritonLanguageModel,
) -> None:
    *chunks, finished = await answer(language_model, planned("Hel", "lo", finish="stop"))
    assert chunks == [TextChunk("Hel"), TextChunk("lo")]
    assert isinstance(finished, ChatFinished)
    assert finished.reason is FinishReason.STOP
    assert finished.usage == Usage(prompt_tokens=9, completion_tokens=2)
    assert finished.prompt_ms > 0
    assert 0 < finished.ttft_ms <= finished.inference_ms


async def test_a_character_spread_over_two_responses_is_put_together(
    language_model: TritonLanguageModel,
) -> None:
    halves = "é".encode()[:1], "é".encode()[1:]
    chunks = await answer(language_model, planned("caf", *halves, "!", finish="stop"))
    assert text_of(chunks) == "café!"


@pytest.mark.parametrize(
    ("asked", "logprobs", "confidence"),
    [
        (True, [-0.5, -1.0, -1.2], math.exp(-0.6)),
        (True, [-0.5, -1.0, math.nan], None),
        (True, [], None),
        (False, [-0.5, -1.0, -1.2], None),
    ],
)
async def test_an_answer_says_how_sure_the_model_was_where_that_is_asked_and_known(
    language_model: TritonLanguageModel,
    asked: bool,
    logprobs: list[float],
    confidence: float | None,
) -> None:
    plan = planned("a", "b", finish="stop", logprobs=logprobs, confidence=asked)
    finished = (await answer(language_model, plan))[-1]
    assert isinstance(finished, ChatFinished)
    assert finished.usage.completion_tokens == 2
    assert finished.confidence == (confidence and pytest.approx(confidence))


@pytest.mark.parametrize("asked", [True, False])
async def test_token_probabilities_are_asked_for_only_with_the_confidence(
    language_model: TritonLanguageModel, asked: bool
) -> None:
    request = planned(show_sampling=True, finish="stop", confidence=asked)
    sampling = json.loads(text_of(await answer(language_model, request)))
    assert sampling.get("logprobs") == (0 if asked else None)


async def test_tool_calls_come_whole_and_never_as_text(
    language_model: TritonLanguageModel,
) -> None:
    pieces = ("Let me see.\n<tool", '_call>\n{"name": "calculator", "argu', 'ments": {"a": 1}}\n')
    chunks = await answer(language_model, planned(*pieces, "</tool_call>", finish="stop"))
    call = ToolCall(call_id="call_1", name="calculator", arguments_json='{"a": 1}')
    assert text_of(chunks) == "Let me see."
    assert [chunk.call for chunk in chunks if isinstance(chunk, ToolCallChunk)] == [call]
    assert isinstance(chunks[-1], ChatFinished)
    assert chunks[-1].reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("pieces", "finish"),
    [
        (("<tool_call>{oops}</tool_call>", "never read"), "stop"),
        (('<tool_call>{"name": ',), "length"),
    ],
)
async def test_a_malformed_call_is_raised_with_the_tokens_it_took(
    language_model: TritonLanguageModel, pieces: tuple[str, ...], finish: str
) -> None:
    with pytest.raises(MalformedToolCall) as raised:
        await answer(language_model, planned(*pieces, finish=finish))
    assert raised.value.usage == Usage(prompt_tokens=9, completion_tokens=len(pieces))
    assert raised.value.said == pieces[0]
    assert ("cut off by its token limit" in raised.value.detail) == (finish == "length")


ADD = ToolSchema("add", "Adds.", {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("model", "pieces"),
    [
        ("echo_llama", ("Let me see.<|python", '_tag|>{"name": "add", "parameters": {}}')),
        ("echo_mistral", ("Let me see.[TOOL_CA", "LLS]add[ARGS]{}")),
    ],
)
async def test_calls_are_read_in_the_format_of_the_catalogue(
    language_model: TritonLanguageModel, model: str, pieces: tuple[str, ...]
) -> None:
    request = planned(*pieces, model=model, tools=(ADD,), finish="stop")
    chunks = await answer(language_model, request)
    assert text_of(chunks) == "Let me see."
    calls = [chunk.call for chunk in chunks if isinstance(chunk, ToolCallChunk)]
    assert calls == [ToolCall(call_id="call_1", name="add", arguments_json="{}")]


@pytest.mark.parametrize(
    ("model", "tools", "asked"),
    [
        ("echo", (ADD,), False),
        ("echo_llama", (ADD,), True),
        ("echo_mistral", (ADD,), True),
        ("echo_mistral", (), False),
    ],
)
async def test_special_tokens_are_asked_for_where_a_call_begins_with_one(
    language_model: TritonLanguageModel, model: str, tools: tuple[ToolSchema, ...], asked: bool
) -> None:
    request = planned(model=model, tools=tools, show_sampling=True, finish="stop")
    sampling = json.loads(text_of(await answer(language_model, request)))
    assert sampling.get("skip_special_tokens", True) is not asked


async def test_the_conversation_and_tools_go_out_in_openai_s_shapes(
    language_model: TritonLanguageModel,
) -> None:
    call = ToolCall(call_id="call_3_1", name="add", arguments_json='{"a": "ü"}')
    before = (
        Message(role=Role.SYSTEM, content="Be brief.", run_id="run_1"),
        Message(role=Role.USER, content="1 + ü?"),
        Message(role=Role.ASSISTANT, tool_calls=(call,)),
        Message(role=Role.TOOL, content="2", tool_call_id="call_3_1", name="add"),
    )
    schema = ToolSchema("add", "Adds.", {"type": "object", "properties": {}})
    request = planned(before=before, tools=(schema,), echo_request=True, finish="stop")
    sent = json.loads(text_of(await answer(language_model, request)))
    assert sent["MODEL"] == "echo_llm"
    assert json.loads(sent["MESSAGES"])[:-1] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + ü?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_3_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": "ü"}'},
                }
            ],
        },
        {"role": "tool", "content": "2", "tool_call_id": "call_3_1", "name": "add"},
    ]
    function = {"name": "add", "description": "Adds.", "parameters": schema.parameters}
    assert json.loads(sent["TOOLS"]) == [{"type": "function", "function": function}]


async def test_a_conversation_takes_the_shape_that_the_format_s_templates_insist_on(
    language_model: TritonLanguageModel,
) -> None:
    calls = [ToolCall(call_id=f"call_3_{n}", name="add", arguments_json="{}") for n in (1, 2)]
    before = (
        Message(role=Role.USER, content="1 + ü?"),
        Message(role=Role.ASSISTANT, tool_calls=tuple(calls)),
        *(Message(role=Role.TOOL, content="2", tool_call_id=call.call_id) for call in calls),
    )
    request = planned(model="echo_llama", before=before, echo_request=True, finish="stop")
    sent = json.loads(json.loads(text_of(await answer(language_model, request)))["MESSAGES"])
    assert [len(message.get("tool_calls", ())) for message in sent] == [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("sampling", "tokens", "sent"),
    [
        (Sampling(), 7, {"temperature": 0.0, "max_tokens": 64}),
        (Sampling(max_tokens=5), 7, {"temperature": 0.0, "max_tokens": 5}),
        (Sampling(max_tokens=500), 7, {"temperature": 0.0, "max_tokens": 64}),
        (Sampling(), 60, {"temperature": 0.0, "max_tokens": 40}),
        (
            Sampling(temperature=0.5, top_p=0.9, stop=("\n", "END"), seed=0, max_tokens=1),
            99,
            {"temperature": 0.5, "max_tokens": 1, "top_p": 0.9, "stop": ["\n", "END"], "seed": 0},
        ),
    ],
)
async def test_sampling_is_vllm_s_and_leaves_no_more_tokens_than_there_is_room_for(
    language_model: TritonLanguageModel, sampling: Sampling, tokens: int, sent: object
) -> None:
    request = planned(sampling=sampling, tokens=tokens, show_sampling=True, finish="stop")
    assert json.loads(text_of(await answer(language_model, request))) == sent


@pytest.mark.parametrize(
    ("tokens", "wanted", "limit"), [(69, 0, 68), (100, 1, 99), (10_000, 0, 68)]
)
async def test_a_prompt_that_leaves_no_room_is_refused_with_the_counts(
    language_model: TritonLanguageModel, tokens: int, wanted: int, limit: int
) -> None:
    request = planned(tokens=tokens, sampling=Sampling(max_tokens=wanted), finish="stop")
    with pytest.raises(InvalidInput, match=f"{tokens} tokens; echo takes up to {limit}") as raised:
        await answer(language_model, request)
    assert raised.value.reason == "CONTEXT_LENGTH"
    assert raised.value.metadata["prompt_tokens"] == str(tokens)
    assert raised.value.metadata["limit_tokens"] == str(limit)


@pytest.mark.parametrize(
    ("plan", "kind", "said"),
    [
        ({"fail": 1}, InvalidInput, "echo_llm refuses the request: sampling_parameters: 'top_k'"),
        ({"fail": 2}, Unavailable, "echo_llm is not available: its engine died$"),
        ({"fail": 3}, Internal, "echo_llm failed in the middle of its answer$"),
        ({"refuse": True}, InvalidInput, r"chat_prompt refuses the request: MESSAGES\[0\]"),
        ({}, Unavailable, "broke off its answer"),
        ({"finish": "abort"}, Unavailable, r"broke off its answer \(abort\)"),
    ],
)
async def test_failures_of_a_model_are_told_apart(
    language_model: TritonLanguageModel, plan: dict[str, Any], kind: type[FleetError], said: str
) -> None:
    with pytest.raises(kind, match=said) as raised:
        await answer(language_model, planned("some text", **plan))
    if kind is Unavailable:
        assert raised.value.reason == "MODEL_UNAVAILABLE"


async def test_a_failure_that_quotes_the_prompt_is_kept_from_errors_and_logs(
    language_model: TritonLanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidInput) as raised:
        await answer(language_model, planned(fail=1, secret="my password is swordfish"))
    assert "withheld" in str(raised.value)
    assert "swordfish" not in str(raised.value)
    assert "swordfish" not in caplog.text
    assert raised.value.__cause__ is None


async def test_a_model_that_triton_does_not_have_is_unavailable(
    language_model: TritonLanguageModel,
) -> None:
    with pytest.raises(Unavailable) as raised:
        await answer(language_model, planned(model="absent", finish="stop"))
    assert raised.value.reason == "MODEL_UNAVAILABLE"
    assert str(raised.value) == "model absent_llm is not available: Triton does not serve it"


async def test_a_model_that_the_catalogue_does_not_have_is_refused(
    language_model: TritonLanguageModel,
) -> None:
    with pytest.raises(InvalidInput, match="'gpt' is not in the catalogue, which is: echo, "):
        await answer(language_model, planned(model="gpt"))


async def test_only_a_known_model_that_answers_is_ready(
    language_model: TritonLanguageModel,
) -> None:
    assert await language_model.ready("echo")
    assert not await language_model.ready("absent")
    assert not await language_model.ready("gpt")


async def test_closing_the_stream_early_stops_the_engine_and_no_other(
    language_model: TritonLanguageModel, tmp_path: Path
) -> None:
    seen, other = tmp_path / "seen", tmp_path / "other"
    async with aclosing(language_model.chat(planned(hold=str(other)))) as others:
        await anext(others)
        async with aclosing(language_model.chat(planned(hold=str(seen)))) as chunks:
            await anext(chunks)
        await is_written(seen)
        assert seen.read_text() == "cancelled"
        assert not other.exists()
        assert isinstance(await anext(others), TextChunk)
    await is_written(other)


async def test_cancelling_the_task_stops_the_engine_and_stays_a_cancellation(
    language_model: TritonLanguageModel, tmp_path: Path
) -> None:
    seen, began = tmp_path / "seen", asyncio.Event()
    request = planned(hold=str(seen))

    async def consume() -> None:
        async with aclosing(language_model.chat(request)) as chunks:
            async for _ in chunks:
                began.set()

    task = asyncio.create_task(consume())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await is_written(seen)
    assert seen.read_text() == "cancelled"
    assert request.meter.usage.prompt_tokens == 9
    assert request.meter.usage.completion_tokens >= 1


async def test_an_answer_past_its_deadline_is_stopped(
    connection: TritonConnection, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    async with TritonConnection(connection.url, stream_timeout_s=0.5) as hasty:
        with pytest.raises(DeadlineExceeded, match="echo_llm did not answer in time"):
            await answer(TritonLanguageModel(hasty, CATALOGUE), planned(hold=str(seen)))
    await is_written(seen)


async def test_many_answers_at_once_do_not_mix(language_model: TritonLanguageModel) -> None:
    requests = [planned(f"I am {n}", finish="stop") for n in range(64)]
    answers = await asyncio.gather(*(answer(language_model, request) for request in requests))
    assert [text_of(chunks) for chunks in answers] == [f"I am {n}" for n in range(64)]
