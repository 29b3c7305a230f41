"""Starting the test server and the tools that come from it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.adapters.mcp_tools import (
    HttpEndpoint,
    McpServer,
    McpTools,
    PinnedTool,
    StdioEndpoint,
    write_pins,
)
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import ToolResult

PROGRAM = Path(__file__).with_name("server_program.py")


def open_http(endpoint: HttpEndpoint) -> httpx2.AsyncBaseTransport:
    return httpx2.AsyncHTTPTransport(trust_env=False)


@dataclass
class Seen:
    """An observer that remembers."""

    refusals: list[tuple[str, str]] = field(default_factory=list)
    up: dict[str, bool] = field(default_factory=dict)

    def connected(self, server: str, *, up: bool) -> None:
        self.up[server] = up

    def refused(self, server: str, tool: str) -> None:
        self.refusals.append((server, tool))


@dataclass
class Running:
    tools: McpTools
    folder: Path
    seen: Seen

    async def call(self, tool: str, **arguments: Any) -> ToolResult:
        call = ToolCall(call_id="1", name=f"test_{tool}", arguments_json=json.dumps(arguments))
        async with asyncio.timeout(60):
            return await self.tools.call(call, key="run:1:1", timeout_s=60)

    def journal(self) -> list[str]:
        file = self.folder / "journal"
        return file.read_text().splitlines() if file.exists() else []

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.journal() if line.startswith("pid ")]

    async def told(self, line: str) -> None:
        await until(lambda: line in self.journal())

    def release(self, name: str) -> None:
        (self.folder / f"release-{name}").touch()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what another process does sets no event here
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it runs; a dead one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stdio_endpoint(folder: Path, *flags: str, **env: str) -> StdioEndpoint:
    return StdioEndpoint(sys.executable, (str(PROGRAM), str(folder), *flags), env=env)


def server(
    folder: Path, endpoint: StdioEndpoint | HttpEndpoint, known: Sequence[PinnedTool]
) -> McpServer:
    """The server with all its tools pinned."""
    file = folder / "pins.json"
    write_pins(file, known)
    return McpServer("test", endpoint, file, pins={tool.name: tool.digest for tool in known})


@asynccontextmanager
async def connected(pinned: McpServer, folder: Path) -> AsyncIterator[Running]:
    seen = Seen()
    tools = McpTools([pinned], observer=seen)
    async with tools.connected(open_http):
        yield Running(tools, folder, seen)


@asynccontextmanager
async def http_server(folder: Path, *flags: str, port: int = 0) -> AsyncIterator[HttpEndpoint]:
    """The test server on a loopback port."""
    journal = folder / "journal"
    journal.write_text("")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), str(folder), "--http", *flags),
        env={**os.environ, "PORT": str(port)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: "port " in journal.read_text())
        bound = journal.read_text().split("port ")[1].split()[0]
        yield HttpEndpoint(f"http://127.0.0.1:{bound}/mcp")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def serving(kind: str, folder: Path, known: Sequence[PinnedTool]) -> AsyncIterator[Running]:
    """`kind`: `stdio` or `http`, and `legacy` for a server of before 2026-07-28."""
    transport, *flags = kind.split(" --")
    flags = [f"--{flag}" for flag in flags]
    if transport == "stdio":
        async with connected(
            server(folder, stdio_endpoint(folder, *flags), known), folder
        ) as running:
            yield running
    else:
        async with (
            http_server(folder, *flags) as endpoint,
            connected(server(folder, endpoint, known), folder) as running,
        ):
            yield running
