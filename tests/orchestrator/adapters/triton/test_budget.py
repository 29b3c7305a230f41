"""What a run's budget leaves holds for the prompt, as the engine counts it, and the answer."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel
from orchestrator.domain.agents import Sampling
from orchestrator.domain.allowance import Allowance
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatFinished, ChatRequest, FinishReason
from orchestrator.domain.errors import Exhausted, InvalidInput
from orchestrator.domain.messages import Message, Role
from orchestrator.triton import TritonServer
from tests.conftest import RunningTriton
from tests.orchestrator.adapters.triton.plans import answer, planned, text_of

SMALL = {"small": ModelEntry(name="small", model="llm_small")}
QUESTION = (Message(role=Role.USER, content="What can you do?"),)
PRICED = {"input_price": 1_000_000, "output_price": 2_000_000}  # millionths a token: 1 and 2


async def inferences(server: TritonServer) -> int:
    async with InferenceServerClient(server.grpc_url) as client:
        statistics = await client.get_inference_statistics("echo_llm", as_json=True)
    return int(statistics["model_stats"][0].get("execution_count", 0))


def requests(triton: RunningTriton) -> float:
    """What has reached the small model's engine."""
    with urllib.request.urlopen(triton.metrics_url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    name = "fleet_llm_requests_finished_total{"
    ended = (line for line in lines if line.startswith(name) and 'model="llm_small"' in line)
    return sum(float(line.rsplit(" ", 1)[1]) for line in ended)


@pytest.mark.parametrize(
    ("allowance", "wanted", "max_tokens"),
    [
        (Allowance(tokens=27), 0, 20),
        (Allowance(tokens=8), 0, 1),
        (Allowance(tokens=1_000), 0, 64),
        (Allowance(tokens=27), 5, 5),
        (Allowance(cost_micros=27, **PRICED), 0, 10),
        (Allowance(cost_micros=10, **PRICED), 0, 1),
        (Allowance(tokens=12, cost_micros=27, **PRICED), 0, 5),
        (Allowance(tokens=27, cost_micros=10, **PRICED), 0, 1),
        (Allowance(cost_micros=0), 0, 64),
    ],
)
async def test_an_answer_is_capped_to_what_the_prompt_leaves_of_the_budget(
    language_model: TritonLanguageModel, allowance: Allowance, wanted: int, max_tokens: int
) -> None:
    sampling = Sampling(max_tokens=wanted)
    request = planned(
        tokens=7, sampling=sampling, allowance=allowance, show_sampling=True, finish="stop"
    )
    sent = json.loads(text_of(await answer(language_model, request)))
    assert sent["max_tokens"] == max_tokens


@pytest.mark.parametrize(
    ("allowance", "said"),
    [
        (Allowance(tokens=7), "budget.max_tokens leaves 7: too little for a prompt of 7 tokens"),
        (Allowance(tokens=0), "budget.max_tokens leaves 0"),
        (Allowance(cost_micros=8, **PRICED), "budget.max_cost_micros leaves 8"),
        (Allowance(cost_micros=6, input_price=1_000_000), "budget.max_cost_micros leaves 6"),
    ],
)
async def test_a_prompt_that_takes_all_of_the_budget_never_reaches_the_engine(
    language_model: TritonLanguageModel, small_triton: TritonServer, allowance: Allowance, said: str
) -> None:
    before = await inferences(small_triton)
    with pytest.raises(Exhausted, match=said) as raised:
        await answer(language_model, planned(tokens=7, allowance=allowance, finish="stop"))
    assert raised.value.reason == "BUDGET"
    assert await inferences(small_triton) == before
    await answer(language_model, planned(finish="stop"))
    assert await inferences(small_triton) == before + 1


async def test_a_prompt_too_long_for_the_model_is_refused_for_that_and_not_for_the_budget(
    language_model: TritonLanguageModel,
) -> None:
    with pytest.raises(InvalidInput) as raised:
        await answer(language_model, planned(tokens=100, allowance=Allowance(tokens=10)))
    assert raised.value.reason == "CONTEXT_LENGTH"


async def test_the_small_model_s_prompt_and_answer_stay_within_what_is_left(
    triton: RunningTriton,
) -> None:
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        whole = (await answer(model, ChatRequest("small", QUESTION)))[-1]
        assert isinstance(whole, ChatFinished)
        left = Allowance(tokens=whole.usage.tokens - 1)
        cut = (await answer(model, ChatRequest("small", QUESTION, allowance=left)))[-1]
        before = await asyncio.to_thread(requests, triton)
        spent = Allowance(tokens=whole.usage.prompt_tokens)
        with pytest.raises(Exhausted, match="max_tokens leaves"):
            await answer(model, ChatRequest("small", QUESTION, allowance=spent))
        after = await asyncio.to_thread(requests, triton)
    assert isinstance(cut, ChatFinished)
    assert cut.reason is FinishReason.LENGTH
    assert cut.usage.tokens == left.tokens
    assert after == before
