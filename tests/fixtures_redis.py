"""A Redis server for the test session. Registered as a plugin by `tests/conftest.py`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.redis_server import RedisServer, RedisServerError, find_program, free_port

EXTRACTED = Path(__file__).parent.parent / ".fleet" / "redis"


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A server of our own on loopback. Without a program for it: skipped, in CI failed."""
    try:
        program = find_program(extracted=EXTRACTED)
    except RedisServerError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("redis")
    async with RedisServer(program, port=free_port(), folder=folder) as server:
        yield server
