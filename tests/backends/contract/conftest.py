"""Both engines behind a real Triton, each with the small model of the repository."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from scripts.llm_bench.vllm_model import write_vllm_model
from tests.backends.llm_client import LlmClient
from tests.conftest import ROOT, RunningTriton, running_triton
from tests.fixtures_vllm import vllm_python

MODEL = "llm_small"
ENGINES = ("openvino_genai", "vllm")


@dataclass(frozen=True)
class Served:
    engine: str
    triton: RunningTriton


@pytest.fixture(scope="session")
def vllm_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    environment = vllm_python().parents[1]
    folder = tmp_path_factory.mktemp("vllm_repository")
    write_vllm_model(ROOT / "model_repository" / MODEL, folder / MODEL, environment)
    with running_triton(tmp_path_factory.mktemp("vllm_triton"), folder) as triton:
        yield triton


@pytest.fixture(scope="session", params=ENGINES)
def served(request: pytest.FixtureRequest) -> Served:
    fixture = {"openvino_genai": "triton", "vllm": "vllm_triton"}[request.param]
    return Served(request.param, request.getfixturevalue(fixture))


@pytest_asyncio.fixture
async def llm(served: Served) -> AsyncIterator[LlmClient]:
    client = LlmClient(served.triton.grpc_url)
    yield client
    await client.close()
