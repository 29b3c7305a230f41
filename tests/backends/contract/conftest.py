"""Both engines behind a real Triton, each with the small model of the repository."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from scripts.llm_bench.vllm_model import write_vllm_model
from tests.backends.contract.adapter import write_adapter
from tests.backends.llm_client import LlmClient
from tests.conftest import ROOT, RunningTriton, running_triton
from tests.fixtures_vllm import vllm_python

MODEL = "llm_small"
ADAPTER = "confused"
ENGINES = ("openvino_genai", "vllm")


@dataclass(frozen=True)
class Served:
    engine: str
    triton: RunningTriton


@pytest.fixture(scope="session")
def vllm_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    environment = vllm_python().parents[1]
    folder = tmp_path_factory.mktemp("vllm_repository")
    model = ROOT / "model_repository" / MODEL
    arguments = {"enable_lora": True, "max_lora_rank": 8}
    write_vllm_model(model, folder / MODEL, environment, arguments)
    version = folder / MODEL / "1"
    write_adapter(model / "1" / "hugging_face", version / "adapters" / ADAPTER)
    (version / "multi_lora.json").write_text(json.dumps({ADAPTER: f"adapters/{ADAPTER}"}))
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
