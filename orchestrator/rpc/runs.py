"""fleet.v1.RunService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from orchestrator.api.runs import Runs
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages, requests
from orchestrator.rpc.pb.fleet.v1 import runs_pb2, runs_pb2_grpc


class RunServicer(runs_pb2_grpc.RunServiceServicer):
    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def StartRun(
        self, request: runs_pb2.StartRunRequest, _context: object
    ) -> runs_pb2.StartRunResponse:
        started = await self._runs.start(tenant(), requests.start_run(request))
        return runs_pb2.StartRunResponse(
            run=messages.run_message(started.run), deduplicated=started.deduplicated
        )

    async def WatchRun(
        self, request: runs_pb2.WatchRunRequest, _context: object
    ) -> AsyncIterator[runs_pb2.RunEvent]:
        watched = self._runs.watch(tenant(), request.run_id, after_seq=request.after_seq)
        async with aclosing(watched):
            async for item in watched:
                yield messages.event_message(item)

    async def Ask(
        self, request: runs_pb2.StartRunRequest, _context: object
    ) -> AsyncIterator[runs_pb2.RunEvent]:
        async with aclosing(self._runs.ask(tenant(), requests.start_run(request))) as watched:
            async for item in watched:
                yield messages.event_message(item)

    async def GetRun(self, request: runs_pb2.GetRunRequest, _context: object) -> runs_pb2.Run:
        return messages.run_details_message(await self._runs.get(tenant(), request.run_id))

    async def ListRuns(
        self, request: runs_pb2.ListRunsRequest, _context: object
    ) -> runs_pb2.ListRunsResponse:
        page = await self._runs.list(
            tenant(),
            session_id=request.session_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return runs_pb2.ListRunsResponse(
            runs=map(messages.run_message, page.items), next_page_token=page.next_token
        )

    async def CancelRun(self, request: runs_pb2.CancelRunRequest, _context: object) -> runs_pb2.Run:
        return messages.run_message(await self._runs.cancel(tenant(), request.run_id))

    async def ResumeRun(self, request: runs_pb2.ResumeRunRequest, _context: object) -> runs_pb2.Run:
        run = await self._runs.resume(
            tenant(), request.run_id, request.interrupt_id, requests.answer(request)
        )
        return messages.run_message(run)
