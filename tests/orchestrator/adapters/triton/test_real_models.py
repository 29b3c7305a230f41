"""The adapters over the repositories as they are served."""

import asyncio
import math
import urllib.request
from contextlib import aclosing

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel, TritonRouter
from orchestrator.domain.agents import Sampling
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import (
    ChatFinished,
    ChatRequest,
    FinishReason,
    ToolCallChunk,
)
from orchestrator.domain.messages import Message, Role
from tests.conftest import RunningTriton
from tests.orchestrator.adapters.triton.plans import answer, text_of

SMALL = {"small": ModelEntry(name="small", model="llm_small")}
ENDLESS = ModelEntry(name="small", model="llm_small", context_tokens=1024, max_new_tokens=512)
QUESTION = Message(role=Role.USER, content="What is 437 * 12?")


async def test_requests_are_classified_by_the_labels_of_the_heads(triton: RunningTriton) -> None:
    async with TritonConnection(triton.grpc_url) as connection:
        sum_, where = await TritonRouter(connection).classify(
            ["What is 437 * 12?", "Where is my order A1042?"]
        )
    for head in (sum_.task, sum_.complexity, sum_.risk, where.task):
        assert math.isclose(sum(head.values()), 1.0, abs_tol=1e-4)
    assert set(sum_.complexity) == {"simple", "moderate", "hard"}
    assert set(sum_.risk) == {"low", "elevated", "high"}
    assert max(sum_.task, key=lambda label: sum_.task[label]) == "arithmetic"
    assert max(where.task, key=lambda label: where.task[label]) == "lookup"


async def test_vectors_are_normalised_and_near_for_near_meanings(triton: RunningTriton) -> None:
    texts = ["A dog barks.", "The hound is barking.", "Interest rates fell in May."]
    async with TritonConnection(triton.grpc_url) as connection:
        router = TritonRouter(connection)
        dog, hound, rates = await router.embed(texts)
        many = await router.embed(texts * 50)
    assert all(math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-4) for vector in many)
    assert _dot(dog, hound) > 0.5 > _dot(dog, rates)
    assert len(many) == 150
    assert _dot(many[148], hound) > 0.99


async def test_the_small_model_calls_a_tool_and_then_answers(triton: RunningTriton) -> None:
    tools = builtin_tools()
    schemas = tuple(spec.schema for spec in tools.specs().values())
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        assert await model.ready("small")
        first = await answer(model, ChatRequest("small", (QUESTION,), schemas))
        (call,) = [chunk.call for chunk in first if isinstance(chunk, ToolCallChunk)]
        result = await tools.call(call, key="test", timeout_s=5.0)
        history = (
            QUESTION,
            Message(role=Role.ASSISTANT, tool_calls=(call,)),
            Message(role=Role.TOOL, content=result.content, tool_call_id=call.call_id),
        )
        second = await answer(model, ChatRequest("small", history, schemas))
    finished = first[-1]
    assert isinstance(finished, ChatFinished)
    assert finished.reason is FinishReason.TOOL_CALLS
    assert finished.usage.prompt_tokens > 0
    assert finished.usage.completion_tokens > 0
    assert call.name == "calculator"
    assert result.content == "5244"
    assert "5244" in text_of(second)


async def test_a_model_is_surer_of_what_it_was_trained_on(triton: RunningTriton) -> None:
    strange = Message(role=Role.USER, content="What is the price of P07, and of P40?")
    schemas = tuple(spec.schema for spec in builtin_tools().specs().values())
    greedy = Sampling(temperature=0.0)
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        known, unknown, unasked = [
            (await answer(model, ChatRequest("small", (said,), schemas, greedy, confidence=on)))[-1]
            for said, on in ((QUESTION, True), (strange, True), (QUESTION, False))
        ]
    assert isinstance(known, ChatFinished)
    assert isinstance(unknown, ChatFinished)
    assert isinstance(unasked, ChatFinished)
    assert known.confidence is not None
    assert unknown.confidence is not None
    assert 0 < unknown.confidence < 0.995 < known.confidence <= 1
    assert unasked.confidence is None


async def test_closing_an_answer_early_cancels_it_in_the_engine(triton: RunningTriton) -> None:
    request = ChatRequest("small", (QUESTION,), sampling=Sampling(temperature=2.0))
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, {"small": ENDLESS})
        before = await asyncio.to_thread(_cancelled, triton)
        async with asyncio.timeout(60):
            # An answer that happens to end at once is not cancelled: then another.
            while await asyncio.to_thread(_cancelled, triton) == before:
                async with aclosing(model.chat(request)) as chunks:
                    await anext(chunks)
                await asyncio.sleep(0.1)
        assert await asyncio.to_thread(_cancelled, triton) > before


def _cancelled(triton: RunningTriton) -> float:
    with urllib.request.urlopen(triton.metrics_url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("fleet_llm_requests_finished_total{")
        and 'model="llm_small"' in line
        and 'reason="cancelled"' in line
    )


def _dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
