"""What callers see when Triton dies under them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel, TritonRouter
from orchestrator.domain.errors import Unavailable
from orchestrator.triton import ServerNotFoundError, TritonConfig, TritonServer
from tests.orchestrator.adapters.triton.plans import CATALOGUE, answer, planned, text_of

HERE = Path(__file__).parent


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mortal_triton(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TritonServer]:
    config = TritonConfig(
        repositories=(HERE / "models",),
        backends_dir=HERE / "backends",
        runtime_dir=tmp_path_factory.mktemp("mortal_triton"),
    )
    try:
        async with TritonServer(config) as server:
            yield server
    except ServerNotFoundError as missing:
        pytest.skip(str(missing))


async def test_a_killed_server_is_unavailable_and_the_same_connection_serves_once_it_is_back(
    mortal_triton: TritonServer, tmp_path: Path
) -> None:
    async with TritonConnection(mortal_triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, CATALOGUE)
        async with aclosing(model.chat(planned(hold=str(tmp_path / "seen")))) as chunks:
            await anext(chunks)
            pid = (await mortal_triton.status()).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Unavailable) as raised:
                await _exhaust(chunks)
        assert raised.value.reason == "MODEL_UNAVAILABLE"
        assert not await model.ready("echo")
        async with asyncio.timeout(60):
            while not await model.ready("echo"):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
        assert text_of(await answer(model, planned("back", finish="stop"))) == "back"
        assert len(await TritonRouter(connection).classify(["one", "two"])) == 2


async def _exhaust(chunks: AsyncIterator[object]) -> None:
    async for _ in chunks:
        pass


async def test_a_dead_model_process_is_unavailable(mortal_triton: TritonServer) -> None:
    async with TritonConnection(mortal_triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, CATALOGUE)
        with pytest.raises(Unavailable) as raised:
            await answer(model, planned(crash=True))
        assert raised.value.reason == "MODEL_UNAVAILABLE"
        # Triton 24.10 may die of it.
        assert str(raised.value) in {
            "model echo_llm is not available: its process died",
            "model echo_llm is not available: Triton can't be reached",
        }
