"""A Triton with small models of known behaviour, beside the real one of tests/conftest.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel, TritonRouter
from orchestrator.triton import ServerNotFoundError, TritonConfig, TritonServer
from tests.orchestrator.adapters.triton.plans import CATALOGUE

HERE = Path(__file__).parent


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_triton(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TritonServer]:
    config = TritonConfig(
        repositories=(HERE / "models",),
        backends_dir=HERE / "backends",
        runtime_dir=tmp_path_factory.mktemp("small_triton"),
    )
    try:
        async with TritonServer(config) as server:
            yield server
    except ServerNotFoundError as missing:
        pytest.skip(str(missing))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connection(small_triton: TritonServer) -> AsyncIterator[TritonConnection]:
    async with TritonConnection(small_triton.grpc_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def language_model(connection: TritonConnection) -> TritonLanguageModel:
    return TritonLanguageModel(connection, CATALOGUE)


@pytest.fixture(scope="session")
def router(connection: TritonConnection) -> TritonRouter:
    return TritonRouter(connection)
