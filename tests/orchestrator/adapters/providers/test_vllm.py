"""Against vLLM's own server, which speaks both APIs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import jsonschema
import pytest

from orchestrator.adapters.provider_connection import ProviderConnection
from orchestrator.domain.agents import Sampling
from orchestrator.domain.catalogue import Capability, ModelEntry
from orchestrator.domain.chat import ChatRequest, FinishReason, TextChunk
from orchestrator.domain.errors import InvalidInput, Remedy, Unavailable
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.output_schema import OutputShape
from orchestrator.ports.models import LanguageModel
from tests.fixtures_vllm import RunningVllm
from tests.orchestrator.adapters.providers.dialects import CALCULATOR, DIALECTS, Dialect, ask

ENTRY = ModelEntry(
    name="far_large",
    provider="vllm",
    model="llm_large",
    capabilities=frozenset({Capability.CHAT, Capability.TOOLS, Capability.STRUCTURED}),
    context_tokens=2048,
    max_new_tokens=1800,
)
RUNNING = r"num_requests_running\{.*\}"
SYSTEM = Message(role=Role.SYSTEM, content="You are a helpful assistant.")


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
async def dialect(request: pytest.FixtureRequest) -> Dialect:
    found = request.param
    assert isinstance(found, Dialect)
    return found


@pytest.fixture
async def models(vllm_server: RunningVllm, dialect: Dialect) -> AsyncIterator[LanguageModel]:
    settings = ProviderConnection(name="vllm", base_url=vllm_server.url + dialect.suffix)
    entries = {ENTRY.name: ENTRY, "none": ENTRY.model_copy(update={"name": "none", "model": "no"})}
    async with dialect.models(settings, entries) as opened:
        yield opened


def saying(*said: str, **more: object) -> ChatRequest:
    users = tuple(Message(role=Role.USER, content=text) for text in said)
    return replace(ChatRequest(ENTRY.name, (SYSTEM, *users)), **more)  # type: ignore[arg-type]


async def test_an_answer_is_streamed_and_counted_as_the_server_does(
    models: LanguageModel, vllm_server: RunningVllm
) -> None:
    request = saying("Hello")
    chunks = [chunk async for chunk in models.chat(request)]
    answered = await ask(models, request)

    assert len([chunk for chunk in chunks if isinstance(chunk, TextChunk)]) > 3
    assert answered.finished.reason is FinishReason.STOP
    whole = await _whole_answer(vllm_server, "Hello")
    assert answered.text == whole["choices"][0]["message"]["content"]
    assert answered.finished.usage.prompt_tokens == whole["usage"]["prompt_tokens"]
    assert answered.finished.usage.completion_tokens == whole["usage"]["completion_tokens"]


async def test_a_tool_is_called_and_its_result_answered(models: LanguageModel) -> None:
    request = saying("What is 437 * 12?", tools=(CALCULATOR,))
    called = await ask(models, request)

    assert called.finished.reason is FinishReason.TOOL_CALLS
    ((name, arguments),) = called.calls
    assert name == "calculator"
    assert json.loads(arguments) == {"expression": "437 * 12"}

    call = ToolCall(call_id="call_1_1", name=name, arguments_json=arguments)
    said = Message(role=Role.ASSISTANT, tool_calls=(call,), run_id="run")
    result = Message(role=Role.TOOL, content="5244", tool_call_id="call_1_1", run_id="run")
    answered = await ask(models, replace(request, messages=(*request.messages, said, result)))

    assert "5244" in answered.text.replace(",", "")
    assert answered.finished.reason is FinishReason.STOP


async def test_closing_an_answer_stops_the_engine(
    models: LanguageModel, vllm_server: RunningVllm
) -> None:
    words = {"type": "array", "minItems": 200, "items": {"type": "string", "minLength": 8}}
    long = saying("Write 200 words.", output=OutputShape(words))
    before = await _metric(vllm_server, r"generation_tokens_total\{.*\}")
    async with aclosing(models.chat(long)) as chunks:
        await anext(chunks)
        assert await _metric(vllm_server, RUNNING) == 1
    async with asyncio.timeout(20):
        while await _metric(vllm_server, RUNNING):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)

    after = await _metric(vllm_server, r"generation_tokens_total\{.*\}")
    assert after - before < 1000  # of 1800 at least


async def test_an_answer_is_held_to_a_schema(models: LanguageModel) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "people": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    request = saying("Describe Oslo.", output=OutputShape(schema, brief=True))
    answered = await ask(models, request)

    assert answered.finished.reason is FinishReason.STOP
    jsonschema.validate(json.loads(answered.text), schema)


async def test_an_answer_ends_at_its_limit(models: LanguageModel) -> None:
    answered = await ask(models, saying("Hello", sampling=Sampling(max_tokens=3)))

    assert answered.finished.reason is FinishReason.LENGTH
    assert answered.finished.usage.completion_tokens == 3


@pytest.mark.parametrize("said", ["many words " * 680, "many words " * 3000])
async def test_a_prompt_that_is_too_long_is_told_in_tokens(
    models: LanguageModel, said: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        await ask(models, saying(said))

    assert raised.value.reason == "CONTEXT_LENGTH"
    limit = int(raised.value.metadata["limit_tokens"])
    assert int(raised.value.metadata["prompt_tokens"]) > limit > 0


async def test_a_model_that_is_not_served_is_left_to_another(models: LanguageModel) -> None:
    with pytest.raises(Unavailable, match="does not know the model") as raised:
        await ask(models, replace(saying("Hello"), model="none"))

    assert raised.value.remedy is Remedy.TRY_ANOTHER


async def test_the_server_is_ready(models: LanguageModel) -> None:
    assert await models.ready(ENTRY.name)


async def test_the_tokens_probability_is_told_where_the_api_tells_it(
    models: LanguageModel, dialect: Dialect
) -> None:
    answered = await ask(models, saying("Hello", confidence=True))

    if dialect.name == "openai":
        assert answered.finished.confidence is not None
        assert 0.5 < answered.finished.confidence <= 1.0
    else:
        assert answered.finished.confidence is None


async def _whole_answer(server: RunningVllm, said: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM.content}, {"role": "user", "content": said}]
    body = {"model": server.model, "messages": messages, "temperature": 0, "max_tokens": 1800}
    async with httpx2.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


async def _metric(server: RunningVllm, pattern: str) -> float:
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{server.url}/metrics")).text
    return sum(float(value) for value in re.findall(rf"^vllm:{pattern} (\S+)$", page, re.MULTILINE))
