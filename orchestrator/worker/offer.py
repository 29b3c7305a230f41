"""What an agent's model may call, and which of its calls somebody else has to answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

from orchestrator.domain.agents import Agent, AgentSpec
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.delegation import (
    ASK_PERSON,
    ask_schema,
    ask_tools,
    handover_schema,
    handover_tools,
)
from orchestrator.domain.errors import NotFound
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.messages import ToolCall
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.approvals import needs_approval
from orchestrator.execution.outside import answered_outside, what_is_wrong
from orchestrator.ports.tools import ToolRegistry

log = logging.getLogger(__name__)


class Offer:
    def __init__(self, agents: AgentBook, tools: ToolRegistry) -> None:
        self._agents = agents
        self._tools = tools

    async def schemas(self, tenant: str, agent: Agent) -> tuple[ToolSchema, ...]:
        """The service's tools, the person, the caller's tools, other agents, in this order."""
        spec = agent.spec
        shown = [tool.schema for tool in self._tools.select(spec.tools)]
        if ASK_PERSON.name in spec.tools:
            shown.append(ASK_PERSON)
        shown += [
            ToolSchema(tool.name, tool.description, json.loads(tool.parameters_json))
            for tool in spec.client_tools
        ]
        for named, schema in (
            (ask_tools(spec.agents), ask_schema),
            (handover_tools(spec.handovers), handover_schema),
        ):
            for name, reference in named.items():
                try:
                    other = await self._agents.resolve(tenant, reference)
                except NotFound:
                    log.warning("agent %s can't use %s: there is none", agent.name, reference)
                else:
                    shown.append(schema(name, reference, other.spec.description))
        return tuple(shown)

    def gates(self, spec: AgentSpec, calls: Sequence[ToolCall]) -> Mapping[str, InterruptKind]:
        """Returns, by call id, what has to be asked of somebody before a call has a result."""
        if not calls:
            return {}
        kinds = ((call.call_id, gate(spec, self._tools, call)) for call in calls)
        return {call_id: kind for call_id, kind in kinds if kind is not None}


def gate(spec: AgentSpec, tools: ToolRegistry, call: ToolCall) -> InterruptKind | None:
    """Returns what a call waits for; None: it goes to a toolbox, which also refuses bad ones."""
    if answered_outside(spec, call.name):
        if what_is_wrong(spec, call) is not None:
            return None
        person = call.name == ASK_PERSON.name
        return InterruptKind.REPLY if person else InterruptKind.CLIENT_TOOL
    return InterruptKind.APPROVAL if needs_approval(spec, tools, call.name) else None
