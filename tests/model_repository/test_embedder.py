import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

encoder = importlib.import_module("model_repository.embedder.1.encoder")
request_texts = importlib.import_module("model_repository.embedder.1.request_texts")

MODEL_FOLDER = Path(__file__).parents[2] / "model_repository" / "embedder" / "1"
GOLDEN = json.loads(Path(__file__).with_name("embedder_golden.json").read_text(encoding="utf-8"))
TEXTS = [entry["text"] for entry in GOLDEN["texts"]]
FIRST_VALUES = np.array([entry["first"] for entry in GOLDEN["texts"]])


@pytest.fixture(scope="module")
def exact() -> Any:
    return encoder.TextEncoder(MODEL_FOLDER, {"INFERENCE_PRECISION_HINT": "f32"})


@pytest_asyncio.fixture
async def client(triton: Any) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton.grpc_url) as client:
        yield client


def text_input(*rows: bytes) -> InferInput:
    tensor = InferInput("TEXT", [len(rows), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[row] for row in rows], np.object_))
    return tensor


async def embed(client: InferenceServerClient, *texts: str) -> Any:
    result = await client.infer("embedder", [text_input(*(text.encode() for text in texts))])
    return result.as_numpy("EMBEDDING")


async def counts(client: InferenceServerClient) -> dict[str, int]:
    statistics = await client.get_inference_statistics("embedder", as_json=True)
    model = statistics["model_stats"][0]
    return {
        "inferences": int(model.get("inference_count", 0)),
        "executions": int(model.get("execution_count", 0)),
        "hits": int(model["inference_stats"].get("cache_hit", {}).get("count", 0)),
    }


def test_its_vectors_are_those_of_the_original_model(exact: Any) -> None:
    vectors = exact.encode(TEXTS)

    assert np.abs(vectors[:, :16] - FIRST_VALUES).max() < 1e-3
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_precision_it_serves_in_keeps_the_direction_of_every_vector(exact: Any) -> None:
    served = encoder.TextEncoder(MODEL_FOLDER).encode(TEXTS)

    assert (served * exact.encode(TEXTS)).sum(axis=1).min() > 0.9995


def test_a_text_has_the_same_vector_alone_and_among_others(exact: Any) -> None:
    texts = [f"{TEXTS[place % len(TEXTS)]} {place}" for place in range(40)]

    together = exact.encode(texts)

    alone = np.concatenate([exact.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-4


def test_a_text_beyond_256_tokens_is_cut_there(exact: Any) -> None:
    start = "tea " * 254

    cut = exact.encode([start + "and a very different ending"])

    assert np.array_equal(cut, exact.encode([start]))
    assert not np.allclose(cut, exact.encode(["tea " * 200 + "and a very different ending"]))


def test_no_text_gives_no_vector(exact: Any) -> None:
    assert exact.encode([]).shape == (0, 384)


def test_a_folder_without_the_model_names_the_script_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"model\.xml is missing; run scripts/make_embedder"
    ):
        encoder.TextEncoder(tmp_path)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "TEXT row 1 is empty"),
        (b" \n\t", "TEXT row 1 is blank"),
        (b"caf\xe9", "TEXT row 1 is not UTF-8: byte 0xe9 at position 3"),
    ],
)
def test_a_row_that_is_no_text_is_refused_by_its_number(raw: bytes, reason: str) -> None:
    with pytest.raises(request_texts.InvalidTextError, match=reason):
        request_texts.decode_rows(np.array([[b"fine"], [raw]], np.object_))


async def counts_from(client: InferenceServerClient, **least: int) -> dict[str, int]:
    """The counts once they are at least these: Triton counts a moment after it answers."""
    async with asyncio.timeout(10):
        while True:
            now = await counts(client)
            if all(now[name] >= number for name, number in least.items()):
                return now


async def test_triton_serves_the_vectors_of_every_row(
    client: InferenceServerClient, exact: Any
) -> None:
    vectors = await embed(client, *TEXTS)

    assert vectors.shape == (len(TEXTS), 384)
    assert (vectors * exact.encode(TEXTS)).sum(axis=1).min() > 0.9995


async def test_requests_that_wait_together_are_executed_together(
    client: InferenceServerClient,
) -> None:
    before = await counts(client)

    await asyncio.gather(*(embed(client, f"a text of its own, number {n}") for n in range(64)))

    after = await counts_from(client, inferences=before["inferences"] + 64)
    assert after["inferences"] - before["inferences"] == 64
    assert after["executions"] - before["executions"] < 32


async def test_a_bad_request_fails_alone_in_its_batch(client: InferenceServerClient) -> None:
    good = [embed(client, f"a good neighbour, number {n}") for n in range(24)]
    # Each another one: Triton's cache answers the same bad request with nothing (docs/batching.md).
    bad = [client.infer("embedder", [text_input(b"\xff %d" % n)]) for n in range(8)]

    groups = zip(good[::3], bad, good[1::3], good[2::3], strict=True)
    mixed = [pair for group in groups for pair in group]
    results = await asyncio.gather(*mixed, return_exceptions=True)

    refused = [result for result in results if isinstance(result, InferenceServerException)]
    assert len(refused) == 8
    assert all(error.status() == "StatusCode.INVALID_ARGUMENT" for error in refused)
    assert all("not UTF-8" in str(error.message()) for error in refused)
    assert sum(isinstance(result, np.ndarray) for result in results) == 24


async def test_the_reason_of_a_refusal_is_heard_again_beside_a_row_of_its_own(
    client: InferenceServerClient,
) -> None:
    for n in range(3):
        with pytest.raises(InferenceServerException, match="TEXT row 0 is not UTF-8"):
            await client.infer("embedder", [text_input(b"the same caf\xe9", b"beside it %d" % n)])


async def test_the_same_text_again_comes_from_the_response_cache(
    client: InferenceServerClient,
) -> None:
    first = await embed(client, "a text that is asked for twice")
    before = await counts(client)

    again = await embed(client, "a text that is asked for twice")

    after = await counts_from(client, hits=before["hits"] + 1)
    assert np.array_equal(first, again)
    assert after["hits"] == before["hits"] + 1
