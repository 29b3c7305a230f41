"""Texts, streams, counts and log probabilities: the same whatever the engine."""

import json

import pytest

from tests.backends.contract.conftest import MODEL, Served
from tests.backends.contract.metrics_page import fetch
from tests.backends.contract.prompts import LONG, PROMPT
from tests.backends.llm_client import ALL_OUTPUTS, LlmClient


async def test_a_whole_answer_begins_with_the_prompt_unless_excluded(llm: LlmClient) -> None:
    whole = await llm.ask(PROMPT, LONG)
    bare = await llm.ask(PROMPT, LONG, exclude_input_in_output=True)
    assert len(whole.outputs) == 1
    assert whole.text == PROMPT + bare.text
    assert bare.text


async def test_a_streams_pieces_are_the_whole_answer(llm: LlmClient) -> None:
    whole = await llm.ask(PROMPT, LONG, exclude_input_in_output=True, **ALL_OUTPUTS)
    parts = await llm.ask(PROMPT, LONG, stream=True, **ALL_OUTPUTS)
    assert parts.text == whole.text
    assert len(parts.texts) > 2
    assert parts.total("num_output_tokens") == whole.total("num_output_tokens") == 40
    assert parts.outputs[0]["num_input_tokens"] == whole.outputs[0]["num_input_tokens"]
    assert {one["finish_reason"][0] for one in parts.outputs[:-1]} == {b"None"}
    assert parts.reason == whole.reason == "length"


async def test_the_defaults_are_those_of_vllm(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, {"ignore_eos": True}, **ALL_OUTPUTS)
    assert heard.total("num_output_tokens") == 16
    assert heard.outputs[0]["logprobs"] == [b"null"]


async def test_only_what_is_asked_for_is_returned(llm: LlmClient) -> None:
    assert list((await llm.ask(PROMPT)).outputs[0]) == ["text_output"]
    heard = await llm.ask(PROMPT, return_num_input_tokens=True)
    assert list(heard.outputs[0]) == ["text_output", "num_input_tokens"]


async def test_log_probabilities_are_those_of_the_chosen_tokens(llm: LlmClient) -> None:
    sampling = {"temperature": 0, "max_tokens": 5, "logprobs": 1, "ignore_eos": True}
    heard = await llm.ask(PROMPT, sampling, exclude_input_in_output=True, **ALL_OUTPUTS)
    tokens = json.loads(heard.outputs[0]["logprobs"][0])
    logprobs = [value["logprob"] for token in tokens for value in token.values()]
    assert len(tokens) == 5
    assert all(one <= 0 for one in logprobs)
    assert any(one < 0 for one in logprobs)
    assert heard.outputs[0]["cumulative_logprob"][0] == pytest.approx(sum(logprobs), rel=1e-4)


async def test_a_seed_makes_an_answer_repeatable_and_none_does_not(llm: LlmClient) -> None:
    hot = {"temperature": 2, "max_tokens": 40, "ignore_eos": True}
    seeded = [await llm.ask(PROMPT, {**hot, "seed": 5}) for _ in range(2)]
    free = [await llm.ask(PROMPT, hot) for _ in range(2)]
    assert seeded[0].text == seeded[1].text
    assert free[0].text != free[1].text


async def test_several_sequences_come_in_one_response(llm: LlmClient) -> None:
    heard = await llm.ask(PROMPT, {**LONG, "n": 3}, **ALL_OUTPUTS)
    assert [len(values) for values in heard.outputs[0].values()] == [3, 3, 3, 3, 1, 3]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_cuts_the_answer_where_it_begins(llm: LlmClient, stream: bool) -> None:
    full = (await llm.ask(PROMPT, LONG, exclude_input_in_output=True)).text
    stop = full[10:13]
    cut = full[: full.index(stop)]
    flags = {"stream": True} if stream else {"exclude_input_in_output": True}
    heard = await llm.ask(PROMPT, {**LONG, "stop": stop}, **flags, return_finish_reason=True)
    assert (heard.text, heard.reason) == (cut, "stop")
    kept = {**LONG, "stop": stop, "include_stop_str_in_output": True}
    assert (await llm.ask(PROMPT, kept, **flags)).text == cut + stop


async def test_http_callers_may_put_parameters_beside_the_text(served: Served) -> None:
    body = {"text_input": PROMPT, "max_tokens": 3, "ignore_eos": True, "stream": False}
    answer = await fetch(
        f"{served.triton.http_url}/v2/models/{MODEL}/generate", json.dumps(body).encode()
    )
    assert json.loads(answer)["text_output"].startswith(PROMPT)
