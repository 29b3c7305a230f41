"""Models that ask for it are told which of their calls was cancelled."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import model_config_pb2

from orchestrator.adapters.triton import TritonLanguageModel
from orchestrator.adapters.triton.cancel_hints import MOST_AT_ONCE, CancelHints
from orchestrator.adapters.triton.wire import (
    InferRequest,
    Outputs,
    Stubs,
    infer_request,
    takes_cancel_hints,
)
from orchestrator.domain.chat import ChatRequest
from tests.orchestrator.adapters.triton.plans import answer, is_written, planned


class RecordingStubs(Stubs):
    def __init__(self, *, wanted: bool, lost: int = 0) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.sent: list[InferRequest] = []
        self._wanted = wanted
        self._lost = lost

    async def takes_cancel_hints(self, model: str, *, timeout_s: float) -> bool:
        self.asked += 1
        await self.answers.wait()
        if self.asked <= self._lost:
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing)
        return self._wanted

    async def stream(
        self,
        request: InferRequest,
        *,
        timeout_s: float,
    ) -> AsyncGenerator[Outputs | str, None]:
        self.sent.append(request)
        await self.answers.wait()
        yield "text_input: must not be empty"


def held(*pieces: str, told: Path, **plan: Any) -> ChatRequest:
    return planned(*pieces, model="hinted", told=str(told), **plan)


async def cancel(stubs: Stubs, *request_ids: str) -> None:
    hints = CancelHints(stubs, timeout_s=1.0)
    for request_id in request_ids:
        hints.send(infer_request("some_llm", [], request_id=request_id))
        await hints.close()


async def cancel_at_once(stubs: RecordingStubs, calls: int) -> CancelHints:
    """The server answers when all hints are on their way."""
    stubs.answers.clear()
    hints = CancelHints(stubs, timeout_s=1.0)
    for n in range(calls):
        hints.send(infer_request("some_llm", [], request_id=f"{n}"))
    while not stubs.asked:  # noqa: ASYNC110 - all of them begin in the same turn of the loop
        await asyncio.sleep(0)
    stubs.answers.set()
    return hints


async def test_a_model_that_takes_no_hints_is_asked_once_and_told_nothing() -> None:
    stubs = RecordingStubs(wanted=False)
    await cancel(stubs, "a", "b")
    assert (stubs.asked, stubs.sent) == (1, [])


async def test_a_hint_has_an_empty_prompt_and_the_cancelled_call_s_id() -> None:
    stubs = RecordingStubs(wanted=True)
    await cancel(stubs, "a", "", "b")
    assert stubs.asked == 1
    said = [one.parameters["cancelled_request_id"].string_param for one in stubs.sent]  # type: ignore[attr-defined]
    assert said == ["a", "b"]
    assert [one.model_name for one in stubs.sent] == ["some_llm", "some_llm"]
    assert stubs.sent[0].raw_input_contents == [bytes(4)]  # type: ignore[attr-defined]


async def test_a_server_that_is_away_is_asked_again_at_the_next_cancel() -> None:
    stubs = RecordingStubs(wanted=True, lost=1)
    await cancel(stubs, "a", "b")
    assert len(stubs.sent) == 1


async def test_many_cancels_at_once_ask_about_their_model_once() -> None:
    stubs = RecordingStubs(wanted=True)
    hints = await cancel_at_once(stubs, 20)
    await hints.close()
    assert (stubs.asked, len(stubs.sent)) == (1, 20)


async def test_many_cancels_at_once_survive_a_server_that_is_away() -> None:
    stubs = RecordingStubs(wanted=True, lost=1)
    hints = await cancel_at_once(stubs, 20)
    await hints.close()
    assert (stubs.asked, stubs.sent) == (1, [])
    hints.send(infer_request("some_llm", [], request_id="later"))
    await hints.close()
    assert len(stubs.sent) == 1


async def test_a_server_that_hangs_gathers_a_bounded_number_of_hints() -> None:
    stubs = RecordingStubs(wanted=True)
    hints = await cancel_at_once(stubs, 2 * MOST_AT_ONCE)
    await hints.close()
    hints.send(infer_request("some_llm", [], request_id="later"))
    await hints.close()
    assert len(stubs.sent) == MOST_AT_ONCE + 1


@pytest.mark.parametrize(
    ("backend", "declared", "taken"),
    [("mine", "mine", True), ("vllm", "mine", False), ("mine", None, False), ("", "", False)],
)
def test_hints_go_to_the_backend_that_the_model_names(
    backend: str, declared: str | None, taken: bool
) -> None:
    config = model_config_pb2.ModelConfig(backend=backend)
    if declared is not None:
        config.parameters["cancel_hints"].string_value = declared
    assert takes_cancel_hints(config) is taken


async def test_a_call_that_is_closed_early_is_named_to_its_model_and_no_other(
    language_model: TritonLanguageModel, tmp_path: Path
) -> None:
    ended, running, left = tmp_path / "ended", tmp_path / "running", tmp_path / "left"
    await answer(language_model, held("done", told=ended, finish="stop"))
    async with aclosing(language_model.chat(held(hold=str(tmp_path / "1"), told=running))) as other:
        await anext(other)
        async with aclosing(language_model.chat(held(hold=str(tmp_path / "2"), told=left))) as one:
            await anext(one)
        await is_written(left)
        assert not running.exists()
        assert not ended.exists()


async def test_a_cancelled_task_s_call_is_named_to_its_model(
    language_model: TritonLanguageModel, tmp_path: Path
) -> None:
    began = asyncio.Event()

    async def consume() -> None:
        request = held(hold=str(tmp_path / "seen"), told=tmp_path / "told")
        async with aclosing(language_model.chat(request)) as chunks:
            async for _ in chunks:
                began.set()

    task = asyncio.create_task(consume())
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    await is_written(tmp_path / "told")
