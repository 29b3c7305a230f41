"""A served repository answers again after its processes are killed, with nothing done by hand."""

import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import grpc.aio
import pytest

from orchestrator.triton import Kind
from orchestrator.triton.control import READY
from tests.orchestrator.triton.serving import Serving, serve, until


@pytest.fixture(scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    async with serve(tmp_path_factory.mktemp("watched")) as running:
        yield running


@pytest.fixture(autouse=True)
async def healthy(serving: Serving) -> None:
    """Each test begins with every model answering, and with no event."""

    async def all_ready() -> bool:
        models = (await serving.server.status()).models.values()
        return len(models) == 3 and all(state == READY for state in models)

    await until(all_ready)
    serving.events.clear()


async def test_every_model_answers_after_the_start(serving: Serving) -> None:
    assert await serving.ask("double") == [2, 4]
    assert await serving.ask("quadruple") == [4, 8]
    assert await anext(serving.stream("ticks")) == [1, 2]


async def test_a_model_whose_process_is_killed_is_loaded_again_while_others_serve(
    serving: Serving,
) -> None:
    killed = serving.stub("double")
    server = (await serving.server.status()).pid
    stream = serving.stream("ticks")
    await anext(stream)

    os.kill(killed.pid, signal.SIGKILL)
    await until(partial(_has, serving, Kind.MODEL_RELOADED))

    assert await serving.ask("quadruple") == [4, 8]
    assert await anext(stream) == [1, 2]
    assert (await serving.server.status()).pid == server
    assert serving.kinds("double") == [Kind.STUB_DIED, Kind.MODEL_RELOADED]
    assert killed.region not in serving.shared_memory()


async def test_the_open_stream_of_a_killed_decoupled_model_ends_with_an_error(
    serving: Serving,
) -> None:
    stream = serving.stream("ticks")
    await anext(stream)

    os.kill(serving.stub("ticks").pid, signal.SIGKILL)

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async for _ in stream:
            pass
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    await until(partial(_has, serving, Kind.READY))
    assert await anext(serving.stream("ticks")) == [1, 2]


async def test_a_killed_server_is_started_again_on_the_same_ports(serving: Serving) -> None:
    before = await serving.server.status()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)

    await until(partial(_has, serving, Kind.READY))

    after = await serving.server.status()
    assert after.pid != before.pid
    assert after.restarts == before.restarts + 1
    assert await serving.ask("quadruple") == [4, 8]
    assert len(serving.shared_memory()) == 2


async def test_a_server_that_hangs_is_replaced(serving: Serving) -> None:
    before = (await serving.server.status()).pid
    assert before is not None
    os.kill(before, signal.SIGSTOP)

    await until(partial(_has, serving, Kind.READY))

    assert serving.kinds()[0] is Kind.SERVER_HUNG
    assert await serving.ask("double") == [2, 4]


async def _has(serving: Serving, kind: Kind) -> bool:
    return kind in serving.kinds()
