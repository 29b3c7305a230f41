"""MCP over the standard input and output of a program.

The SDK has such a transport. This one differs in that the program gets no environment
but what is declared, ends when we are killed, and can't fill our memory with one line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from orchestrator.adapters.mcp_tools import process as processes
from orchestrator.adapters.mcp_tools.framing import BoundedLines, Oversize
from orchestrator.adapters.mcp_tools.server import StdioEndpoint
from orchestrator.adapters.mcp_tools.wire import MAX_MESSAGE_BYTES, Fault

_WRITE_S = 10.0  # a server that reads nothing for so long is stuck
_QUEUED_MESSAGES = 64

_log = logging.getLogger(__name__)

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]


@asynccontextmanager
async def stdio_transport(
    endpoint: StdioEndpoint, name: str, ended: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Starts the program; calls `ended` when it can't be talked to any more.

    Raises:
        StartFailure: the program can't be started.
    """
    process = await processes.start(endpoint)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](_QUEUED_MESSAGES)
    tasks = [
        asyncio.create_task(_read(process, to_session, name)),
        asyncio.create_task(_write(process, from_session)),
    ]
    for task in tasks:
        task.add_done_callback(lambda _: ended())
        task.add_done_callback(lambda _: to_session.close())
    tasks.append(asyncio.create_task(processes.log_stderr(process, name)))
    try:
        yield from_server, to_server
    finally:
        try:
            await processes.stop(process)
        finally:
            for task in tasks:
                task.cancel()
            for stream in (to_session, from_server, to_server, from_session):
                stream.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(process: asyncio.subprocess.Process, to_session: Incoming, name: str) -> None:
    assert process.stdout is not None
    lines = BoundedLines(MAX_MESSAGE_BYTES)
    warned = False
    try:
        while chunk := await process.stdout.read(65536):
            for line in lines.feed(chunk):
                message = _message(line)
                if message is not None:
                    await to_session.send(SessionMessage(message))
                elif not warned:
                    warned = True
                    _log.warning("MCP server %s writes what is no MCP message; it is dropped", name)
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the pipe broke, or the session is gone: both are the end


def _message(line: bytes | Oversize) -> mcp_types.JSONRPCMessage | None:
    if isinstance(line, Oversize):
        if line.answered is None:
            return None
        error = mcp_types.ErrorData(code=Fault.OVERSIZE, message="the answer is too large")
        return mcp_types.JSONRPCError(jsonrpc="2.0", id=line.answered, error=error)
    try:
        return mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None


async def _write(process: asyncio.subprocess.Process, from_session: Outgoing) -> None:
    assert process.stdin is not None
    try:
        async for message in from_session:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode("utf-8") + b"\n")
            async with asyncio.timeout(_WRITE_S):
                await process.stdin.drain()
    except (OSError, TimeoutError):
        return
