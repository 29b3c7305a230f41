import math

import pytest

from orchestrator.adapters.triton import TritonConnection, TritonRouter
from orchestrator.domain.errors import Internal, InvalidInput, Unavailable

# The small heads put a text of n characters into class n modulo 3, with 0.75.
LABELS = {
    "task": ("lookup", "time", "code"),
    "complexity": ("hard", "moderate", "simple"),
    "risk": ("low", "elevated", "high: very"),
}


async def test_probabilities_are_bound_by_label_whatever_the_order_of_classes(
    router: TritonRouter,
) -> None:
    (found,) = await router.classify(["four"])
    assert found.task == {"lookup": 0.125, "time": 0.75, "code": 0.125}
    assert found.complexity == {"hard": 0.125, "moderate": 0.75, "simple": 0.125}
    assert found.risk == {"low": 0.125, "elevated": 0.75, "high: very": 0.125}


async def test_more_texts_than_a_batch_takes_come_back_in_order(router: TritonRouter) -> None:
    lengths = [5, 1, 3, 8, 2, 2, 7, 1, 9, 4, 6]  # the batch size is 4
    found = await router.classify(["x" * length for length in lengths])
    for field, labels in LABELS.items():
        best = [max(getattr(each, field).items(), key=lambda item: item[1])[0] for each in found]
        assert best == [labels[length % 3] for length in lengths]


async def test_every_text_has_its_own_vector_in_order(router: TritonRouter) -> None:
    lengths = [5, 1, 3, 8, 2, 2, 7, 1, 9]
    vectors = await router.embed(["x" * length for length in lengths])
    assert {len(vector) for vector in vectors} == {384}
    assert [vector.index(1.0) for vector in vectors] == lengths
    assert all(math.isclose(sum(v * v for v in vector), 1.0) for vector in vectors)


async def test_no_texts_have_no_results(router: TritonRouter) -> None:
    assert await router.classify([]) == ()
    assert await router.embed([]) == ()


@pytest.mark.parametrize("empty", ["", " \n"])
async def test_an_empty_text_is_refused_by_its_place(router: TritonRouter, empty: str) -> None:
    for call in (router.classify, router.embed):
        with pytest.raises(InvalidInput) as raised:
            await call(["fine", empty])
        assert raised.value.field == "texts[1]"


async def test_text_that_is_not_unicode_does_no_harm(router: TritonRouter) -> None:
    (vector,) = await router.embed(["a\ud800b"])
    assert vector.index(1.0) == 3


@pytest.mark.parametrize("method", ["embed", "classify"])
async def test_a_text_that_is_refused_is_refused_again_for_the_same_reason(
    router: TritonRouter, method: str
) -> None:
    for _ in range(3):
        with pytest.raises(InvalidInput, match="it is bad") as raised:
            await getattr(router, method)(["good", f"!bad {method}", "fine"])
        assert raised.value.field == "texts[1]"
    assert len(await getattr(router, method)(["good", "fine"])) == 2


@pytest.mark.parametrize("method", ["embed", "classify"])
async def test_a_failure_of_the_moment_does_not_stick_to_its_text(
    router: TritonRouter, method: str
) -> None:
    text = f"!once {method}"
    with pytest.raises(Internal):
        await getattr(router, method)([text])
    for _ in range(2):
        assert len(await getattr(router, method)([text])) == 1
    assert len(await getattr(router, method)(["one", text, "three", "four", "five"])) == 5


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with TritonConnection("127.0.0.1:1") as nowhere:
        router = TritonRouter(nowhere)
        for texts in (["one"], ["one", "two"]):
            with pytest.raises(Unavailable) as raised:
                await router.classify(texts)
            assert raised.value.reason == "MODEL_UNAVAILABLE"
            assert (
                str(raised.value) == "model agent_router is not available: Triton can't be reached"
            )
        assert not await nowhere.ready("embedder")


async def test_a_closed_connection_is_unavailable(connection: TritonConnection) -> None:
    async with TritonConnection(connection.url) as other:
        await TritonRouter(other).embed(["one"])
    with pytest.raises(Unavailable, match="is closed"):
        await TritonRouter(other).embed(["one"])
    assert not await other.ready("embedder")
