"""Callers of the real api processes, each with a channel of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import grpc

from orchestrator.execution.retry import full_jitter
from orchestrator.rpc.pb.fleet.v1 import runs_pb2, runs_pb2_grpc
from scripts.chaos_trials.ground import Ground
from scripts.chaos_trials.orders import Role
from scripts.chaos_trials.outside import Child
from scripts.chaos_trials.reports import HOST

_TIMEOUT_S = 30.0
_PATIENCE_S = 30.0


class Caller:
    def __init__(self, channel: grpc.aio.Channel, child: Child) -> None:
        self._runs: runs_pb2_grpc.RunServiceAsyncStub = runs_pb2_grpc.RunServiceStub(channel)
        self.child = child

    async def start(
        self, tenant: str, request: runs_pb2.StartRunRequest
    ) -> runs_pb2.StartRunResponse:
        """Tries again while the service is away: the request id makes that safe."""
        waits = full_jitter(base_s=0.05, cap_s=1.0)
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._runs.StartRun(request, metadata=_key(tenant), timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                    raise
                await asyncio.sleep(next(waits))

    def watch(
        self, tenant: str, run_id: str, after_seq: int
    ) -> grpc.aio.UnaryStreamCall[runs_pb2.WatchRunRequest, runs_pb2.RunEvent]:
        request = runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq)
        return self._runs.WatchRun(request, metadata=_key(tenant))


def _key(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {tenant}"),)


async def call(place: Ground, opened: AsyncExitStack, channels: int = 1) -> list[Caller]:
    """Starts an api process and opens channels to it."""
    child = await place.fleet.start(replace(place.fleet.base, role=Role.API))
    # Else channels to one address share a connection.
    options = (("grpc.use_local_subchannel_pool", 1),)
    callers = []
    for _ in range(channels):
        channel = grpc.aio.insecure_channel(f"{HOST}:{child.port}", options=options)
        callers.append(Caller(await opened.enter_async_context(channel), child))
    return callers


@asynccontextmanager
async def calling(place: Ground, count: int, channels: int = 1) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as opened:
        yield [each for _ in range(count) for each in await call(place, opened, channels)]
