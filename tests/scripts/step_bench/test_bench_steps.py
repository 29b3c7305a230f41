"""The benchmark of steps runs to its end; what it measures is for people to read."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TINY = (*("--runs", "20", "--tenants", "4", "--at-once", "8"), *("--asks", "5", "--workers", "1"))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("redis_server")
async def test_a_tiny_run_measures_steps_and_asks() -> None:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "bench_steps"),
        *TINY,
        "--json",
        env=dict(os.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    found = json.loads(said.decode().splitlines()[-1])
    assert found["runs"] == 20
    assert set(found["cpu"]) >= {"worker", "toolbox", "redis"}
    for name in ("steps_per_s", "redis_commands_per_step", "aof_bytes_per_step", "ask_p50_ms"):
        assert found[name] > 0, name
