"""What is played: an agent that calls a tool once and then answers, or answers at once."""

from __future__ import annotations

from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.messages import Role

AGENT = "bench"
SPEC = AgentSpec(system_prompt="You are a calculator.", tools=("calculator",))
REFERENCE = f"{AGENT}@1"
WITH_TOOL, AT_ONCE = "What is 6 * 7?", "Hello."
STEPS_OF_A_RUN = 3  # reason, tool, reason
_CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}}</tool_call>'


def turn(request: ChatRequest) -> list[str]:
    last = request.messages[-1]
    if last.role is Role.USER and last.content == WITH_TOOL:
        return [_CALL]
    return ["It is ", "42."]
