"""A server that hangs, and calls that can't wait for it."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters.mcp_tools import McpTools, PinnedTool
from orchestrator.adapters.mcp_tools.session import Patience
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome
from tests.orchestrator.adapters.mcp_tools.serving import (
    Running,
    Seen,
    alive,
    open_http,
    server,
    stdio_endpoint,
    until,
)


async def test_a_call_that_runs_out_of_time_is_unknown_and_a_hanging_server_started_again(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    # One that tells of changes is looked at again at the start, which may find it hanging.
    endpoint = stdio_endpoint(tmp_path, "--legacy")
    pinned = replace(server(tmp_path, endpoint, known), timeout_s=0.5)
    seen = Seen()
    tools = McpTools([pinned], observer=seen)
    async with tools.connected(open_http, patience=Patience(check_s=0.5)):
        running = Running(tools, tmp_path, seen)
        assert (await running.call("add", a=1, b=2)).ok
        os.kill(running.pids()[0], signal.SIGSTOP)
        call = ToolCall(call_id="1", name="test_add", arguments_json='{"a": 1, "b": 2}')
        late = await tools.call(call, key="k", timeout_s=0.2)
        assert late.outcome is Outcome.UNKNOWN
        assert "took longer than 0.2 s" in late.content
        await until(lambda: len(running.pids()) == 2 and seen.up["test"])
        assert (await running.call("add", a=1, b=2)).ok
        assert not alive(running.pids()[0])


async def test_a_call_that_runs_out_of_time_is_cancelled_at_the_server_which_goes_on(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    tools = McpTools([server(tmp_path, stdio_endpoint(tmp_path), known)])
    async with tools.connected(open_http):
        running = Running(tools, tmp_path, Seen())
        assert (await running.call("add", a=1, b=2)).ok
        call = ToolCall(call_id="1", name="test_hold", arguments_json='{"name": "a"}')
        assert (await tools.call(call, key="k", timeout_s=0.5)).outcome is Outcome.UNKNOWN
        await running.told("cancelled a")
        assert (await running.call("add", a=1, b=2)).ok
        assert len(running.pids()) == 1
