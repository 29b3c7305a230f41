"""A server that dies, that is not there, or that comes later."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.adapters.mcp_tools import HttpEndpoint, PinnedTool, StdioEndpoint
from orchestrator.domain.tools import Outcome
from tests.orchestrator.adapters.mcp_tools.serving import (
    Running,
    connected,
    http_server,
    server,
    serving,
    until,
)


async def recovered(running: Running) -> bool:
    result = await running.call("add", a=1, b=2)
    assert result.outcome in {Outcome.OK, Outcome.TRANSIENT}
    return result.ok


async def comes_back(running: Running) -> None:
    async with asyncio.timeout(60):
        while not await recovered(running):  # noqa: ASYNC110 - a call tells, no event does
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["stdio", "stdio --legacy"])
async def test_a_call_whose_server_is_killed_is_unknown_and_the_server_is_started_again(
    kind: str, tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with serving(kind, tmp_path, known) as running:
        cut = [asyncio.create_task(running.call("hold", name=name)) for name in "ab"]
        await running.told("started a")
        await running.told("started b")
        os.kill(running.pids()[0], signal.SIGKILL)
        assert [(await call).outcome for call in cut] == [Outcome.UNKNOWN] * 2
        await comes_back(running)
        assert len(running.pids()) == 2


@pytest.mark.parametrize("flags", [(), ("--legacy",)])
async def test_a_call_over_a_connection_that_breaks_is_unknown_and_the_server_found_again(
    flags: tuple[str, ...], tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with http_server(tmp_path, *flags) as endpoint:
        pinned = server(tmp_path, endpoint, known)
        port = int(endpoint.url.split(":")[2].split("/")[0])
        async with connected(pinned, tmp_path) as running:
            cut = asyncio.create_task(running.call("hold", name="a"))
            await running.told("started a")
            os.kill(running.pids()[0], signal.SIGKILL)
            assert (await cut).outcome is Outcome.UNKNOWN
            assert (await running.call("add", a=1, b=2)).outcome is Outcome.TRANSIENT
            async with http_server(tmp_path, *flags, port=port):
                await comes_back(running)


async def test_a_server_that_forgot_the_session_gets_another(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with http_server(tmp_path, "--legacy") as endpoint:
        port = int(endpoint.url.split(":")[2].split("/")[0])
        async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
            assert (await running.call("add", a=1, b=2)).content == "3"
            os.kill(running.pids()[0], signal.SIGKILL)
            async with http_server(tmp_path, "--legacy", port=port):
                await comes_back(running)
                assert (await running.call("add", a=2, b=2)).content == "4"


@pytest.mark.parametrize(
    "endpoint",
    [
        StdioEndpoint("no-such-program"),
        StdioEndpoint("false"),
        StdioEndpoint("true", cwd=Path("no-such-folder")),
        StdioEndpoint(
            sys.executable, ("-c", "print('{}', flush=True); import time; time.sleep(60)")
        ),
        HttpEndpoint("http://127.0.0.1:1/mcp"),
    ],
)
async def test_the_tools_of_a_server_that_is_down_are_offered_and_calls_may_be_tried_again(
    endpoint: StdioEndpoint | HttpEndpoint, tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
        assert "test_add" in running.tools.specs()
        assert (await running.call("add", a=1, b=2)).outcome is Outcome.TRANSIENT


async def test_a_server_that_comes_later_is_found(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with http_server(tmp_path) as endpoint:
        port = int(endpoint.url.split(":")[2].split("/")[0])
    async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
        assert (await running.call("add", a=1, b=2)).outcome is Outcome.TRANSIENT
        async with http_server(tmp_path, port=port):
            await until(lambda: running.seen.up["test"])
            await comes_back(running)


async def test_a_program_that_appears_later_is_started(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    pinned = server(tmp_path, StdioEndpoint("./late", cwd=tmp_path), known)
    async with connected(pinned, tmp_path) as running:
        assert (await running.call("add", a=1, b=2)).outcome is Outcome.TRANSIENT
        program = Path(__file__).with_name("server_program.py")
        late = tmp_path / "late.new"
        late.write_text(f"#!/bin/sh\nexec {sys.executable} {program} {tmp_path}\n")
        late.chmod(0o755)
        late.rename(tmp_path / "late")
        await comes_back(running)


async def test_tools_without_sessions_can_be_shown_but_not_called(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    pinned = server(tmp_path, StdioEndpoint("true"), known)
    async with connected(pinned, tmp_path) as running:
        pass
    assert (await running.call("add", a=1, b=2)).outcome is Outcome.TRANSIENT
