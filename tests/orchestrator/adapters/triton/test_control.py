"""What holds for every control of a model server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orchestrator.adapters.scripted_control import ScriptedModelControl
from orchestrator.adapters.triton import TritonConnection, TritonModelControl
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.ports.model_control import LoadState, ModelControl

MODEL = "echo_llm"


@pytest_asyncio.fixture(params=["triton", "scripted"])
async def control(
    request: pytest.FixtureRequest, connection: TritonConnection
) -> AsyncIterator[ModelControl]:
    """One that holds MODEL, and no model `nowhere`."""
    if request.param == "scripted":
        yield ScriptedModelControl([MODEL], failing={"nowhere": "no such model"})
        return
    made = TritonModelControl(connection)
    yield made
    await made.load(MODEL)


async def state(control: ModelControl) -> set[LoadState]:
    return {row.state for row in await control.served() if row.model == MODEL}


async def test_a_model_is_unloaded_and_loaded_again(control: ModelControl) -> None:
    assert await state(control) == {LoadState.READY}
    await control.unload(MODEL)
    assert await state(control) == {LoadState.UNLOADED}
    await control.load(MODEL)
    assert await state(control) == {LoadState.READY}


async def test_a_ready_version_has_a_number_and_no_reason(control: ModelControl) -> None:
    (row,) = [row for row in await control.served() if row.model == MODEL]
    assert (row.version, row.reason) == ("1", "")


async def test_a_model_that_does_not_load_says_why(control: ModelControl) -> None:
    with pytest.raises(InvalidInput, match="nowhere does not load: ") as refused:
        await control.load("nowhere")
    assert refused.value.reason == "MODEL_NOT_LOADED"


@pytest.mark.parametrize("method", ["served", "load", "unload"])
async def test_a_server_that_is_away_is_unavailable(method: str) -> None:
    arguments = () if method == "served" else (MODEL,)
    async with TritonConnection("127.0.0.1:1") as closed:
        for control in (TritonModelControl(closed), ScriptedModelControl(away=True)):
            with pytest.raises(Unavailable) as refused:
                await getattr(control, method)(*arguments)
            assert refused.value.reason == "MODEL_UNAVAILABLE"
