from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.redis_answers import open_redis_answers
from orchestrator.adapters.scripted_models import ScriptedEmbedder
from orchestrator.adapters.triton import TritonConnection, TritonRouter
from orchestrator.domain.chat import ChatFinished, FinishReason, ToolSchema
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import CacheHit
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.output_schema import OutputShape
from orchestrator.model_calls.semantic import SemanticIndex, cosine, quantised
from orchestrator.model_calls.wording import essence
from orchestrator.ports.models import Embedder
from orchestrator.redis_server import RedisServer
from tests.conftest import RunningTriton
from tests.orchestrator.model_calls.given_cache import caching, hit_of, request, said, stored
from tests.orchestrator.model_calls.near_duplicates import ALIKE, DIFFERENT

SEMANTIC = CacheHit.SEMANTIC
HOW_DO, HOW_CAN = "How do I reset my password?", "How can I reset my password?"
PAIRS = [pair for pairs in DIFFERENT.values() for pair in pairs]
SYSTEM, USER = request(HOW_CAN).messages


class AllAlike(Embedder):
    """Finds everything the same, which leaves the decision to the words."""

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        return tuple((1.0, *[0.0] * 383) for _ in texts)


class Away(Embedder):
    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        raise Unavailable("gone", reason="MODEL_UNAVAILABLE")


async def hit_after(first: str, second: str, embedder: Embedder, **changed: Any) -> CacheHit | None:
    """Asks both; says what the second one hit."""
    answers = MemoryAnswers()
    index = SemanticIndex(embedder, answers)
    async with caching(lambda _: ["an answer"], answers, semantic=index) as cached:
        await said(cached, request(first))
        await stored(cached)
        return await hit_of(cached, request(second, **changed))


def test_there_are_enough_near_duplicates_and_none_twice() -> None:
    assert len(set(PAIRS)) == len(PAIRS) >= 150
    assert all(one != other for one, other in PAIRS)


@pytest.mark.parametrize("kind", DIFFERENT)
async def test_no_near_duplicate_gets_past_the_words_even_where_its_meaning_seems_the_same(
    kind: str,
) -> None:
    for one, other in DIFFERENT[kind]:
        assert await hit_after(one, other, AllAlike()) is None, (one, other)
        assert await hit_after(other, one, AllAlike()) is None, (other, one)


async def test_with_the_real_embedder_no_near_duplicate_hits_and_many_of_the_same_meaning_do(
    triton: RunningTriton,
) -> None:
    async with TritonConnection(triton.grpc_url) as connection:
        embedder = TritonRouter(connection)
        hits = [pair for pair in PAIRS if await hit_after(*pair, embedder) is not None]
        found = [await hit_after(*pair, embedder) for pair in ALIKE]
        vectors = [[quantised(vector) for vector in await embedder.embed(pair)] for pair in PAIRS]
    near = sum(cosine(*pair) >= 0.9 for pair in vectors)
    print(  # noqa: T201 - the figures of docs/cache.md
        f"{len(hits)} of {len(PAIRS)} near-duplicates hit (by the embedding alone {near} would), "
        f"{found.count(SEMANTIC)} of {len(ALIKE)} pairs of the same meaning do"
    )
    assert hits == []
    assert near > 0, "the near-duplicates are not near: they test nothing"
    assert found.count(SEMANTIC) >= 0.4 * len(ALIKE)


async def test_a_semantic_hit_says_how_similar_the_question_was() -> None:
    answers = MemoryAnswers()
    index = SemanticIndex(AllAlike(), answers)
    async with caching([["an answer"]], answers, semantic=index) as cached:
        await said(cached, request(HOW_DO))
        await stored(cached)
        asked = request(HOW_CAN)
        last = (await said(cached, asked))[-1]
    assert isinstance(last, ChatFinished)
    assert last.cached is not None
    assert last.cached.hit is SEMANTIC
    assert last.cached.similarity == pytest.approx(1.0)
    assert asked.meter.cached


async def test_without_the_index_only_the_same_words_hit() -> None:
    async with caching(lambda _: ["an answer"]) as cached:
        await said(cached, request(HOW_DO))
        assert await hit_of(cached, request(HOW_CAN)) is None


async def test_a_question_whose_meaning_is_another_does_not_hit() -> None:
    assert await hit_after(HOW_DO, HOW_CAN, AllAlike()) is SEMANTIC
    assert await hit_after(HOW_DO, HOW_CAN, ScriptedEmbedder()) is None


CHANGES: dict[str, dict[str, Any]] = {
    "tenant": {"tenant": "globex"},
    "system prompt": {
        "messages": (SYSTEM.model_copy(update={"content": "Be rude."}), USER),
    },
    "tools": {"tools": (ToolSchema("calculator", "", {}),)},
    "schema": {"output": OutputShape({"type": "string"})},
    "confidence": {"confidence": True},
    "conversation": {"messages": (SYSTEM, USER, Message(role=Role.ASSISTANT, content="?"), USER)},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
async def test_whatever_else_differs_is_another_request(changed: dict[str, Any]) -> None:
    assert await hit_after(HOW_DO, HOW_CAN, AllAlike(), **changed) is None


async def test_a_question_that_others_speak_after_is_answered_to_the_same_words_only() -> None:
    rude = SYSTEM.model_copy(update={"content": "Be rude."})
    index = SemanticIndex(AllAlike(), answers := MemoryAnswers())
    async with caching(lambda _: ["an answer"], answers, semantic=index) as cached:
        await said(cached, request(messages=(USER, SYSTEM)))
        await stored(cached)
        assert await hit_of(cached, request(messages=(USER, rude))) is None


@pytest.mark.parametrize(
    "turn",
    [
        ['<tool_call>{"name": "calculator", "arguments": {}}</tool_call>'],
        ["cut short", FinishReason.LENGTH],
    ],
    ids=["tool call", "cut"],
)
async def test_tool_calls_and_answers_that_were_cut_are_given_to_the_same_words_only(
    turn: list[str],
) -> None:
    answers = MemoryAnswers()
    index = SemanticIndex(AllAlike(), answers)
    async with caching(lambda _: turn, answers, semantic=index) as cached:
        await said(cached, request(HOW_DO))
        await stored(cached)
        assert await hit_of(cached, request(HOW_DO)) is CacheHit.EXACT
        assert await hit_of(cached, request(HOW_CAN)) is None


async def test_without_an_embedder_the_model_answers() -> None:
    assert await hit_after(HOW_DO, HOW_CAN, Away()) is None
    assert await hit_after(HOW_DO, HOW_DO, Away()) is CacheHit.EXACT


async def test_on_redis_the_most_similar_of_a_tenants_answers_is_found(
    redis_server: RedisServer,
) -> None:
    class BySize(Embedder):
        async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
            return tuple((10.0, float(len(text) % 7), 0.0) for text in texts)

    async with open_redis_answers(redis_server.url.removesuffix("/0") + "/12") as answers:
        index = SemanticIndex(BySize(), answers, threshold=0.5)
        async with caching(
            lambda asked: [asked.messages[-1].content], answers, semantic=index
        ) as cached:
            for question in ("what is tea?", "What is tea??"):
                await said(cached, request(question))
                await stored(cached)
            first = (await said(cached, request("What is tea?")))[0]
            assert first == (await said(cached, request("what is tea?")))[0]
            assert await hit_of(cached, request("Hi, what is tea?", tenant="globex")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("?", ("?",)),
        ("Wie spät ist es?", ("wie", "spät", "ist", "es", "?")),
        ("WHO are they?", ("WHO", "are", "they", "?")),
        ("Hello, could you please tell me what the time is?", ("what", "is", "the", "time")),
    ],
)
def test_the_essence_of_a_wording(text: str, words: tuple[str, ...]) -> None:
    assert essence(text) == words


def test_a_vector_in_bytes_keeps_its_direction() -> None:
    one = tuple(((n * 37) % 101 - 50) / 50 for n in range(384))
    other = tuple(value + 0.05 * (n % 3) for n, value in enumerate(one))
    exact = (
        sum(a * b for a, b in zip(one, other, strict=True))
        / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5
    )
    assert cosine(quantised(one), quantised(other)) == pytest.approx(exact, abs=0.001)
    assert cosine(quantised(one), quantised(one)) == pytest.approx(1.0)
    assert cosine(b"", quantised(one)) == 0.0
    assert cosine(quantised((0.0,) * 384), quantised(one)) == 0.0
