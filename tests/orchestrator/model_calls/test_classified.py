"""Classifications that were made before are not made again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.routing import Classification
from orchestrator.model_calls.classified import CachedClassifier
from orchestrator.ports.models import RequestClassifier


class Counting(RequestClassifier):
    """A text's task is the text itself."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.away = False

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        self.asked.append(tuple(texts))
        if self.away:
            raise Unavailable("the router is away", reason="MODEL_UNAVAILABLE")
        return tuple(Classification({text: 1.0}, {}, {}) for text in texts)


def tasks(found: Sequence[Classification]) -> list[str]:
    return [next(iter(classification.task)) for classification in found]


async def test_a_text_is_classified_once() -> None:
    inner = Counting()
    cached = CachedClassifier(inner)
    assert await cached.classify(["a"]) == await cached.classify(["a"])
    assert inner.asked == [("a",)]


async def test_of_a_batch_only_what_is_new_is_asked_for_and_each_text_gets_its_own() -> None:
    inner = Counting()
    cached = CachedClassifier(inner)
    await cached.classify(["b"])
    assert tasks(await cached.classify(["a", "b", "c", "a"])) == ["a", "b", "c", "a"]
    assert inner.asked == [("b",), ("a", "c")]


async def test_a_text_that_differs_by_a_space_is_another() -> None:
    inner = Counting()
    cached = CachedClassifier(inner)
    assert tasks(await cached.classify(["a", "a "])) == ["a", "a "]


async def test_the_text_that_was_not_asked_for_longest_makes_room() -> None:
    inner = Counting()
    cached = CachedClassifier(inner, max_texts=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await cached.classify([text])
    assert inner.asked == [("a",), ("b",), ("c",), ("b",)]


async def test_a_batch_larger_than_the_cache_is_answered_whole() -> None:
    cached = CachedClassifier(Counting(), max_texts=1)
    assert tasks(await cached.classify(["a", "b", "c"])) == ["a", "b", "c"]


async def test_a_classification_is_made_again_after_its_time() -> None:
    now, inner = [0.0], Counting()
    cached = CachedClassifier(inner, ttl_s=10.0, clock=lambda: now[0])
    await cached.classify(["a"])
    now[0] = 10.0
    await cached.classify(["a"])
    assert len(inner.asked) == 1
    now[0] = 10.1
    await cached.classify(["a"])
    assert len(inner.asked) == 2


async def test_a_failure_is_not_kept() -> None:
    inner = Counting()
    cached = CachedClassifier(inner)
    inner.away = True
    with pytest.raises(Unavailable):
        await cached.classify(["a"])
    inner.away = False
    assert tasks(await cached.classify(["a"])) == ["a"]
