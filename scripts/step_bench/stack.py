"""The measured stack: a Redis of its own and the processes over it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.redis_server import RedisServer, find_program, free_port

ROOT = Path(__file__).parents[2]
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Stack:
    """`pids` by role, to account for what each took."""

    url: str
    address: str  # of the api
    pids: dict[str, list[int]]


@asynccontextmanager
async def running(
    roles: Sequence[str], *, folder: Path, fsync: str, key_digest: str = ""
) -> AsyncIterator[Stack]:
    """Starts Redis and a process for each role; ends them all.

    With a digest (SHA-256, hex) the api asks for the key that has it.
    """
    program = find_program(extracted=ROOT / ".fleet" / "redis")
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(
            RedisServer(program, port=free_port(), folder=folder, fsync=fsync)
        )
        pids: dict[str, list[int]] = {"redis": [redis.pid or 0]}
        address = ""
        for role in roles:
            pid, said = await opened.enter_async_context(process(role, redis.url, key_digest))
            pids.setdefault(role, []).append(pid)
            address = said if role == "api" else address
        yield Stack(redis.url, address, pids)


@asynccontextmanager
async def process(role: str, url: str, digest: str = "") -> AsyncIterator[tuple[int, str]]:
    """One process over the Redis at `url`: its pid, and what it said when it was ready."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.step_bench.process",
        role,
        url,
        digest,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        said = (await started.stdout.readline()).decode().strip()
        if not said:
            raise RuntimeError(f"the {role} did not start")
        yield started.pid, said
    finally:
        started.stdin.close()
        try:
            await asyncio.wait_for(started.wait(), STOP_S)
        except TimeoutError:
            started.kill()
            await started.wait()
