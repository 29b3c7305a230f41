"""What vLLM has and the other engine has not."""

import json
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.backends.contract.conftest import ADAPTER
from tests.backends.contract.prompts import LONG, PROMPT
from tests.backends.llm_client import ALL_OUTPUTS, LlmClient
from tests.conftest import RunningTriton

GREEDY = {"temperature": 0, "max_tokens": 12, "ignore_eos": True}


@pytest_asyncio.fixture
async def vllm(vllm_triton: RunningTriton) -> AsyncIterator[LlmClient]:
    client = LlmClient(vllm_triton.grpc_url)
    yield client
    await client.close()


async def test_an_adapter_is_chosen_by_name_for_its_request_alone(vllm: LlmClient) -> None:
    plain = await vllm.ask(PROMPT, GREEDY)
    adapted = await vllm.ask(PROMPT, {**GREEDY, "lora_name": ADAPTER})
    again = await vllm.ask(PROMPT, GREEDY)
    assert not adapted.error
    assert adapted.text != plain.text
    assert again.text == plain.text


async def test_an_unknown_adapter_is_refused_with_the_known_ones(vllm: LlmClient) -> None:
    heard = await vllm.ask(PROMPT, {"lora_name": "frnch"})
    assert f"no 'lora_name' \"frnch\"; known are {ADAPTER}" in heard.error


async def test_several_log_probabilities_come_with_their_ranks(vllm: LlmClient) -> None:
    heard = await vllm.ask(PROMPT, {**GREEDY, "logprobs": 3}, **ALL_OUTPUTS)
    tokens = json.loads(heard.outputs[0]["logprobs"][0])
    assert len(tokens) == 12
    assert [sorted(one["rank"] for one in token.values()) for token in tokens] == [[1, 2, 3]] * 12


async def test_several_sequences_may_be_streamed(vllm: LlmClient) -> None:
    heard = await vllm.ask(PROMPT, {**LONG, "n": 3}, stream=True, **ALL_OUTPUTS)
    assert all(len(one["text_output"]) == 3 for one in heard.outputs)
    counts = [sum(int(one["num_output_tokens"][i]) for one in heard.outputs) for i in range(3)]
    assert counts == [40, 40, 40]


async def test_a_bias_on_tokens_decides_the_answer(vllm: LlmClient) -> None:
    sampling = {**GREEDY, "logit_bias": {"5": 100}, "logprobs": 0}
    heard = await vllm.ask(PROMPT, sampling, **ALL_OUTPUTS)
    tokens = json.loads(heard.outputs[0]["logprobs"][0])
    assert [list(token) for token in tokens] == [["5"]] * 12


async def test_words_can_be_forbidden(vllm: LlmClient) -> None:
    plain = await vllm.ask(PROMPT, GREEDY, exclude_input_in_output=True)
    word = plain.text.split()[0]
    other = await vllm.ask(PROMPT, {**GREEDY, "bad_words": [word]}, exclude_input_in_output=True)
    assert not other.error
    assert not other.text.startswith(word)
