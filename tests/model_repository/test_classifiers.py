from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from backends.classifier.head import Head

REPOSITORY = Path(__file__).parents[2] / "model_repository"
LABELS = {
    "task_classifier": ["arithmetic", "lookup", "time", "conversation", "reasoning", "code"],
    "complexity_classifier": ["simple", "moderate", "hard"],
    "risk_classifier": ["low", "elevated", "high"],
}


@pytest_asyncio.fixture
async def client(triton: Any) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton.grpc_url) as client:
        yield client


def floats(*values: Any) -> Any:
    return np.array(values, np.float32)


def embeddings(rows: int) -> Any:
    vectors = np.random.default_rng(5).normal(size=(rows, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embedding_input(vectors: Any) -> InferInput:
    tensor = InferInput("EMBEDDING", list(vectors.shape), "FP32")
    tensor.set_data_from_numpy(vectors)
    return tensor


def test_probabilities_are_the_softmax_of_the_scaled_logits() -> None:
    same = np.eye(2, dtype=np.float32)
    head = Head(same, floats(0.0, -9.0), same, floats(0.0, 1.0), temperature=2.0)

    probabilities = head.probabilities(floats([3.0, 5.0]))

    odds = np.exp(3.0 / 2.0) / np.exp(1.0 / 2.0)
    assert probabilities[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)], rel=1e-5)


def test_large_logits_do_not_overflow() -> None:
    same, zeros = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    head = Head(same, zeros, same, zeros, temperature=0.01)

    assert head.probabilities(floats([900.0, -900.0])).tolist() == [[1.0, 0.0]]


def test_a_saved_head_is_the_same_when_loaded(tmp_path: Path) -> None:
    hidden = embeddings(3).T.copy()
    head = Head(hidden, floats(1, 2, 3), floats([1, 2], [3, 4], [5, 6]), floats(7, 8), 1.25)

    head.save(tmp_path)

    loaded = Head.load(tmp_path)
    assert np.array_equal(loaded.probabilities(embeddings(4)), head.probabilities(embeddings(4)))


def test_a_version_without_a_head_names_the_script_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"head\.npz is missing; run scripts/train_router"):
        Head.load(tmp_path)


def test_a_head_of_another_form_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    np.savez(tmp_path / "head.npz", weights=floats(1), bias=floats(1), temperature=floats(1))

    with pytest.raises(ValueError, match=r"head\.npz has no hidden_weights; make it with"):
        Head.load(tmp_path)


@pytest.mark.parametrize("model", LABELS)
async def test_every_row_gets_its_own_calibrated_probabilities(
    client: InferenceServerClient, model: str
) -> None:
    vectors = embeddings(5)

    result = await client.infer(model, [embedding_input(vectors)])

    expected = Head.load(REPOSITORY / model / "1").probabilities(vectors)
    assert np.allclose(result.as_numpy("PROBABILITIES"), expected, atol=1e-6)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("model", LABELS)
async def test_its_outputs_carry_its_labels(client: InferenceServerClient, model: str) -> None:
    labels = LABELS[model]
    ranked = InferRequestedOutput("PROBABILITIES", class_count=len(labels))

    result = await client.infer(model, [embedding_input(embeddings(1))], outputs=[ranked])

    entries = [entry.decode().split(":") for entry in result.as_numpy("PROBABILITIES")[0]]
    assert sorted((int(place), label) for _, place, label in entries) == list(enumerate(labels))
