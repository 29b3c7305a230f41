"""The server that the tests of providers talk to is what they think it is."""

from __future__ import annotations

import httpx2
import pytest

from tests.fixtures_vllm import RunningVllm

QUESTION = {"role": "user", "content": "What is 437 * 12?"}
SCHEMA = {
    "type": "object",
    "properties": {"expression": {"type": "string"}},
    "required": ["expression"],
}
ABOUT = {"name": "calculator", "description": "Works out an arithmetic expression."}
OPENAI = (
    "/v1/chat/completions",
    [{"type": "function", "function": ABOUT | {"parameters": SCHEMA}}],
)
ANTHROPIC = ("/v1/messages", [ABOUT | {"input_schema": SCHEMA}])


@pytest.mark.parametrize(("path", "tools"), [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_it_calls_a_tool_by_either_protocol(
    vllm_server: RunningVllm, path: str, tools: list[object]
) -> None:
    body = {
        "model": vllm_server.model,
        "messages": [QUESTION],
        "tools": tools,
        "max_tokens": 100,
        "temperature": 0,
    }
    async with httpx2.AsyncClient(base_url=vllm_server.url, timeout=120) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert "437 * 12" in answer.text
    assert '"calculator"' in answer.text
