"""Callers of the real api processes, each with a channel of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import grpc

from orchestrator.rpc.pb.fleet.v1 import runs_pb2, runs_pb2_grpc
from scripts.chaos_trials.ground import Ground
from scripts.chaos_trials.orders import Role
from scripts.chaos_trials.outside import Child
from scripts.chaos_trials.reports import HOST

_TIMEOUT_S = 30.0


class Caller:
    def __init__(self, channel: grpc.aio.Channel, child: Child) -> None:
        self._runs: runs_pb2_grpc.RunServiceAsyncStub = runs_pb2_grpc.RunServiceStub(channel)
        self.child = child

    async def start(
        self, tenant: str, request: runs_pb2.StartRunRequest
    ) -> runs_pb2.StartRunResponse:
        return await self._runs.StartRun(request, metadata=_key(tenant), timeout=_TIMEOUT_S)

    def watch(
        self, tenant: str, run_id: str, after_seq: int
    ) -> grpc.aio.UnaryStreamCall[runs_pb2.WatchRunRequest, runs_pb2.RunEvent]:
        request = runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq)
        return self._runs.WatchRun(request, metadata=_key(tenant))


def _key(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {tenant}"),)


async def call(place: Ground, opened: AsyncExitStack) -> Caller:
    """Starts an api process and opens a channel to it."""
    child = await place.fleet.start(replace(place.fleet.base, role=Role.API))
    # Else channels to one address share a connection.
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel = grpc.aio.insecure_channel(f"{HOST}:{child.port}", options=options)
    return Caller(await opened.enter_async_context(channel), child)


@asynccontextmanager
async def calling(place: Ground, count: int) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as opened:
        yield [await call(place, opened) for _ in range(count)]
