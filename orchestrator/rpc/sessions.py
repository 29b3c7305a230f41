"""fleet.v1.SessionService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from orchestrator.api.sessions import Sessions
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages
from orchestrator.rpc.pb.fleet.v1 import sessions_pb2, sessions_pb2_grpc


class SessionServicer(sessions_pb2_grpc.SessionServiceServicer):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def CreateSession(
        self, request: sessions_pb2.CreateSessionRequest, _context: object
    ) -> sessions_pb2.Session:
        session = await self._sessions.create(
            tenant(), agent=request.agent, labels=dict(request.labels)
        )
        return messages.session_message(session)

    async def GetSession(
        self, request: sessions_pb2.GetSessionRequest, _context: object
    ) -> sessions_pb2.Session:
        return messages.session_message(await self._sessions.get(tenant(), request.session_id))

    async def ListSessions(
        self, request: sessions_pb2.ListSessionsRequest, _context: object
    ) -> sessions_pb2.ListSessionsResponse:
        page = await self._sessions.list(
            tenant(), page_size=request.page_size, page_token=request.page_token
        )
        return sessions_pb2.ListSessionsResponse(
            sessions=map(messages.session_message, page.items), next_page_token=page.next_token
        )

    async def ListMessages(
        self, request: sessions_pb2.ListMessagesRequest, _context: object
    ) -> sessions_pb2.ListMessagesResponse:
        page = await self._sessions.messages(
            tenant(),
            request.session_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return sessions_pb2.ListMessagesResponse(
            messages=messages.message_messages(page.start, page.messages),
            next_page_token=page.next_token,
        )

    async def ForkSession(
        self, request: sessions_pb2.ForkSessionRequest, _context: object
    ) -> sessions_pb2.Session:
        return messages.session_message(await self._sessions.fork(tenant(), request.session_id))

    async def DeleteSession(
        self, request: sessions_pb2.DeleteSessionRequest, _context: object
    ) -> sessions_pb2.DeleteSessionResponse:
        await self._sessions.delete(tenant(), request.session_id)
        return sessions_pb2.DeleteSessionResponse()
