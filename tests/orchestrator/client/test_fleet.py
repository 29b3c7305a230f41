from __future__ import annotations

import asyncio
from contextlib import aclosing

import grpc
import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.client import CallError, FleetClient
from orchestrator.domain.events import TextDelta
from orchestrator.domain.machine import InferenceFinished, advance
from orchestrator.domain.runs import StepRecord
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import State
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2
from tests.orchestrator.rpc.given import kinds, serving, serving_over


async def claimed(state: State) -> Claim:
    async with asyncio.timeout(10):
        while True:
            claims = await state.runs.claim(WorkKind.REASON, worker="w", limit=1, lease_ms=60_000)
            if claims:
                return claims[0]
            await state.runs.wait_for_work(WorkKind.REASON, timeout_s=1.0)


async def finish(state: State, claim: Claim, text: str) -> None:
    record = StepRecord(step=1, attempt=1, model="llm_small", finish_reason="stop")
    await state.runs.commit(claim, advance(claim.run, InferenceFinished(text, (), record)))


async def test_a_question_outlives_the_api_and_its_events_come_once_and_in_order() -> None:
    seen: list[runs_pb2.RunEvent] = []
    async with open_memory_state() as state, serving_over(state) as first:
        port = first.server.port
        async with FleetClient.open(f"127.0.0.1:{port}") as client:
            asking = client.ask(runs_pb2.StartRunRequest(input="hi"))
            async with aclosing(asking):
                seen.append(await anext(asking))
                claim = await claimed(state)
                await state.runs.emit(claim.lease, [TextDelta(text="Hel")])
                while not seen[-1].HasField("text_delta"):
                    seen.append(await anext(asking))
                await first.server.stop(0)
                await state.runs.emit(claim.lease, [TextDelta(text="lo")])
                await finish(state, claim, "Hello")
                async with serving_over(state, address=f"127.0.0.1:{port}"):
                    seen.extend([event async for event in asking])
    assert [event.seq for event in seen] == list(range(len(seen)))
    assert kinds(seen)[-3:] == ["text_delta", "text_delta", "finished"]
    assert seen[-1].finished.result == "Hello"


async def test_a_question_asked_before_anything_listens_is_started_once() -> None:
    async with open_memory_state() as state:
        async with serving_over(state) as probe:
            port = probe.server.port
        async with FleetClient.open(f"127.0.0.1:{port}") as client:
            told: list[CallError] = []
            asking = client.ask(runs_pb2.StartRunRequest(input="hi"), on_wait=told.append)
            first = asyncio.ensure_future(anext(asking))
            async with asyncio.timeout(10):
                while not told:  # noqa: ASYNC110 - the client tells, it has no event
                    await asyncio.sleep(0.01)
            async with serving_over(state, address=f"127.0.0.1:{port}"):
                assert (await asyncio.wait_for(first, 20)).HasField("snapshot")
                await asking.aclose()
        runs = await state.runs.list("default", session_id="", limit=10, token="")
    assert len(runs.items) == 1
    assert [error.code for error in told] == [grpc.StatusCode.UNAVAILABLE]


async def test_patience_ends_with_what_was_wrong() -> None:
    async with serving() as fleet:
        port = fleet.server.port
    async with FleetClient.open(f"127.0.0.1:{port}") as client:
        with pytest.raises(CallError) as caught:
            async for _ in client.ask(runs_pb2.StartRunRequest(input="hi"), patience_s=0.0):
                pass
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.retryable


async def test_a_mistake_is_not_tried_again_and_has_its_reason() -> None:
    async with serving() as fleet, FleetClient.open(f"127.0.0.1:{fleet.server.port}") as client:
        with pytest.raises(CallError) as caught:
            await client.put_agent("clerk", agents_pb2.AgentSpec(tools=["saw"]))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason
    assert not caught.value.retryable
