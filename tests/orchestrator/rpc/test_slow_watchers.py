"""A watcher that does not read: bounded, ended, and able to go on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from orchestrator.client import CallError, FleetClient
from orchestrator.domain.events import TextDelta
from orchestrator.rpc.pb.fleet.v1 import runs_pb2, runs_pb2_grpc
from tests.orchestrator.adapters.state.given import answer, claim_one
from tests.orchestrator.rpc.given import Fleet, refusal, serving, until

WATCH = "/fleet.v1.RunService/WatchRun"
DELTAS = 100
TEXT = "x" * 16_384
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535))


@asynccontextmanager
async def small_channel(fleet: Fleet) -> AsyncIterator[grpc.aio.Channel]:
    """A caller whose library takes little of what it is not asked for."""
    address = f"127.0.0.1:{fleet.server.port}"
    async with grpc.aio.insecure_channel(address, options=SMALL_WINDOW) as channel:
        yield channel


@asynccontextmanager
async def small_window(fleet: Fleet) -> AsyncIterator[runs_pb2_grpc.RunServiceAsyncStub]:
    async with small_channel(fleet) as channel:
        yield runs_pb2_grpc.RunServiceStub(channel)


async def much_to_see(fleet: Fleet) -> str:
    """A run that said more than a caller's window holds, and ended."""
    request = runs_pb2.StartRunRequest(request_id="r1", input="hi")
    run = (await fleet.runs.StartRun(request)).run
    claim = await claim_one(fleet.state)
    for _ in range(DELTAS):
        await fleet.state.runs.emit(claim.lease, [TextDelta(text=TEXT)])
    claim = await fleet.state.runs.refresh(claim)
    await fleet.state.runs.commit(claim, answer(claim, "done"))
    return run.run_id


def ended_with(fleet: Fleet, code: str) -> bool:
    labels = {"method": WATCH, "code": code}
    return fleet.registry.get_sample_value("fleet_rpc_requests_total", labels) == 1


async def read_on(stream: Any, seen: list[Any]) -> None:
    while True:
        seen.append(await stream.read())


async def test_a_watcher_that_reads_nothing_is_ended_and_goes_on_after_what_it_saw() -> None:
    async with serving(write_limit_s=0.1) as fleet, small_window(fleet) as runs:
        run_id = await much_to_see(fleet)
        stream = runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id))
        seen: list[Any] = [await stream.read()]
        await until(lambda: ended_with(fleet, "UNAVAILABLE"))
        assert fleet.registry.get_sample_value("fleet_rpc_open_watches") == 0
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await read_on(stream, seen)
        answered = refusal(error.value)
        assert (answered.code, answered.reason) == (grpc.StatusCode.UNAVAILABLE, "SLOW_WATCHER")
        seqs = [event.seq for event in seen]
        assert seqs == list(range(len(seqs)))
        assert 1 < len(seqs) < DELTAS
        assert int(answered.metadata["last_seq"]) in seqs
        again = runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id, after_seq=seqs[-1]))
        rest = [event.seq async for event in again]
        assert rest == list(range(seqs[-1], DELTAS + 4))


async def test_the_status_of_a_watcher_that_never_reads_keeps_nobody_waiting() -> None:
    async with serving(write_limit_s=0.1) as fleet, small_window(fleet) as runs:
        run_id = await much_to_see(fleet)
        stream = runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id))
        await stream.read()
        await until(lambda: ended_with(fleet, "UNAVAILABLE"))
        async with asyncio.timeout(10):
            await fleet.server.stop(5)
        assert fleet.registry.get_sample_value("fleet_rpc_open_watches") == 0


async def test_a_reader_that_is_slow_but_reads_is_left_alone() -> None:
    async with serving(write_limit_s=1.0) as fleet, small_window(fleet) as runs:
        run_id = await much_to_see(fleet)
        seen = []
        async for event in runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id)):
            seen.append(event.seq)
            await asyncio.sleep(0.005)
        assert seen == list(range(DELTAS + 4))


async def test_our_client_goes_on_by_itself_after_it_was_too_slow() -> None:
    waited: list[CallError] = []
    async with serving(write_limit_s=0.1) as fleet, small_channel(fleet) as channel:
        run_id = await much_to_see(fleet)
        seen = []
        async for event in FleetClient(channel).watch(run_id, on_wait=waited.append):
            seen.append(event.seq)
            if event.seq == 1:
                await until(lambda: ended_with(fleet, "UNAVAILABLE"))
        assert seen == list(range(DELTAS + 4))
        assert [error.reason for error in waited] == ["SLOW_WATCHER"]
