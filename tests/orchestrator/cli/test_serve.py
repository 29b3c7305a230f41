"""`fleet serve` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("role", ["api", "worker", "toolbox"])
async def test_a_process_that_waits_for_the_store_stops_when_told(
    role: str, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestrator.cli", "serve", role),
        cwd=tmp_path,
        env={
            **os.environ,
            "FLEET_REDIS__URL": "redis://somebody:secret@127.0.0.1:1/0",
            f"FLEET_{role.upper()}__METRICS_PORT": "0",
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(40):
            said = await process.stderr.readline()
            assert b"the state store does not answer at 127.0.0.1:1/0" in said
            assert b"secret" not in said
            process.send_signal(signal.SIGTERM)
            await process.stderr.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
