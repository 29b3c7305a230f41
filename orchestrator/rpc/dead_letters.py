"""fleet.v1.DeadLetterService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages
from orchestrator.rpc.pb.fleet.v1 import dead_letters_pb2, dead_letters_pb2_grpc


class DeadLetterServicer(dead_letters_pb2_grpc.DeadLetterServiceServicer):
    def __init__(self, office: DeadLetterOffice) -> None:
        self._office = office

    async def ListDeadLetters(
        self, request: dead_letters_pb2.ListDeadLettersRequest, _context: object
    ) -> dead_letters_pb2.ListDeadLettersResponse:
        page = await self._office.list(
            tenant(), page_size=request.page_size, page_token=request.page_token
        )
        return dead_letters_pb2.ListDeadLettersResponse(
            entries=map(messages.dead_letter_message, page.items), next_page_token=page.next_token
        )

    async def GetDeadLetter(
        self, request: dead_letters_pb2.GetDeadLetterRequest, _context: object
    ) -> dead_letters_pb2.DeadLetter:
        return messages.dead_letter_message(await self._office.get(tenant(), request.entry_id))

    async def RedriveDeadLetter(
        self, request: dead_letters_pb2.RedriveDeadLetterRequest, _context: object
    ) -> dead_letters_pb2.RedriveDeadLetterResponse:
        started = await self._office.redrive(tenant(), request.entry_id)
        return dead_letters_pb2.RedriveDeadLetterResponse(
            run=messages.run_message(started.run), deduplicated=started.deduplicated
        )

    async def PurgeDeadLetters(
        self, request: dead_letters_pb2.PurgeDeadLettersRequest, _context: object
    ) -> dead_letters_pb2.PurgeDeadLettersResponse:
        removed = await self._office.purge(
            tenant(), tuple(request.entry_ids), everything=request.all
        )
        return dead_letters_pb2.PurgeDeadLettersResponse(removed=removed)
