"""fleet.v1.AgentService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from orchestrator.api.agents import Agents
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages, requests
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, agents_pb2_grpc


class AgentServicer(agents_pb2_grpc.AgentServiceServicer):
    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def PutAgent(
        self, request: agents_pb2.PutAgentRequest, _context: object
    ) -> agents_pb2.Agent:
        spec = requests.agent_spec(request.spec)
        return messages.agent_message(await self._agents.put(tenant(), request.name, spec))

    async def GetAgent(
        self, request: agents_pb2.GetAgentRequest, _context: object
    ) -> agents_pb2.Agent:
        return messages.agent_message(await self._agents.get(tenant(), request.name))

    async def ListAgents(
        self, request: agents_pb2.ListAgentsRequest, _context: object
    ) -> agents_pb2.ListAgentsResponse:
        page = await self._agents.list(
            tenant(), page_size=request.page_size, page_token=request.page_token
        )
        return agents_pb2.ListAgentsResponse(
            agents=map(messages.agent_message, page.items), next_page_token=page.next_token
        )
