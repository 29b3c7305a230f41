from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException


@pytest_asyncio.fixture
async def client(triton: Any) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton.grpc_url) as client:
        yield client


def text_input(*texts: str) -> InferInput:
    tensor = InferInput("TEXT", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
    return tensor


async def best_labels(client: InferenceServerClient, text: str) -> dict[str, str]:
    heads = [InferRequestedOutput(name, class_count=1) for name in ("TASK", "COMPLEXITY", "RISK")]
    outputs = [InferRequestedOutput("EMBEDDING"), *heads]
    result = await client.infer("agent_router", [text_input(text)], outputs=outputs)
    return {
        head.name(): result.as_numpy(head.name())[0][0].decode().split(":")[2] for head in heads
    }


@pytest.mark.parametrize(
    ("text", "task", "complexity", "risk"),
    [
        ("What is 437 * 12?", "arithmetic", "simple", "low"),
        ("Where is my order A1042?", "lookup", "simple", "low"),
        ("What time is it in Tokyo?", "time", "simple", "low"),
        ("Hello there!", "conversation", "simple", "low"),
        ("Implement a B-tree in Rust with tests and explain each decision.", "code", "hard", "low"),
        ("Refund order A1042 to the customer's card.", "lookup", "moderate", "high"),
    ],
)
async def test_one_call_says_what_kind_of_request_it_is(
    client: InferenceServerClient, text: str, task: str, complexity: str, risk: str
) -> None:
    labels = await best_labels(client, text)

    assert labels == {"TASK": task, "COMPLEXITY": complexity, "RISK": risk}


async def test_it_answers_with_probabilities_and_the_embedding_for_every_row(
    client: InferenceServerClient,
) -> None:
    texts = [f"How much is {n} plus {n + 1}?" for n in range(3)]

    result = await client.infer("agent_router", [text_input(*texts)])

    for name, labels in (("TASK", 6), ("COMPLEXITY", 3), ("RISK", 3)):
        probabilities = result.as_numpy(name)
        assert probabilities.shape == (3, labels)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(result.as_numpy("EMBEDDING"), axis=1), 1, atol=1e-2)


async def test_a_text_that_cannot_be_embedded_is_refused_with_the_embedder_s_reason(
    client: InferenceServerClient,
) -> None:
    with pytest.raises(InferenceServerException, match="TEXT row 0 is blank"):
        await client.infer("agent_router", [text_input("  ")])
