"""A program of its own process group that ends when we do."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from orchestrator.adapters.mcp_tools.server import StdioEndpoint

_INHERITED = ("PATH", "HOME", "LANG")
_LAUNCHER = Path(__file__).with_name("launch.py")
_STEP_S = 1.0  # from closing its input to SIGTERM, and from there to SIGKILL
_LOGGED_BYTES = 64 * 1024
_LINE_CHARS = 500

_log = logging.getLogger(__name__)


class StartFailure(Exception):
    """The program can't be started; the message says why."""


async def start(endpoint: StdioEndpoint) -> asyncio.subprocess.Process:
    """Raises StartFailure."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    env |= endpoint.env
    folder = endpoint.cwd or Path.cwd()
    if not folder.is_dir():
        raise StartFailure(f"its cwd {folder} is not a folder")
    named = endpoint.command
    command = shutil.which(folder / named if "/" in named else named, path=env.get("PATH"))
    if command is None:
        raise StartFailure(f"its command {named!r} is no program, neither on PATH nor in {folder}")
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(_LAUNCHER), str(os.getpid()), command),
            *endpoint.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise StartFailure(f"its command {named!r} can't be run: {error}") from None


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ends it and its whole group: by closing its input, then SIGTERM, then SIGKILL."""
    try:
        assert process.stdin is not None
        process.stdin.close()
        if not await _ended(process):
            _signal_group(process, signal.SIGTERM)
            await _ended(process)
    finally:
        # Whatever of the group outlived its leader or its patience, also when we are cut off here.
        _signal_group(process, signal.SIGKILL)
    await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_STEP_S):
            await process.wait()
        return True
    return False


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def log_stderr(process: asyncio.subprocess.Process, name: str) -> None:
    """Reads all of it; logs the first of it, at debug level only: it may say anything."""
    assert process.stderr is not None
    left = _LOGGED_BYTES
    while chunk := await process.stderr.read(4096):
        if left <= 0 or not _log.isEnabledFor(logging.DEBUG):
            continue
        left -= len(chunk)
        for line in chunk.decode("utf-8", "replace").splitlines():
            _log.debug("MCP server %s says: %s", name, line[:_LINE_CHARS])
        if left <= 0:
            _log.debug("MCP server %s says more, which is not logged", name)
