"""Which calls a person has to approve: asked by the worker, and again before the call is run."""

from __future__ import annotations

from orchestrator.domain.agents import AgentSpec
from orchestrator.ports.tools import ToolRegistry


def needs_approval(spec: AgentSpec, tools: ToolRegistry, name: str) -> bool:
    """Says whether the agent or the tool itself wants the call approved."""
    if name in spec.approvals:
        return True
    tool = tools.specs().get(name) if name in spec.tools else None
    return tool is not None and tool.needs_approval
