from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.orchestrator.rpc.given import Fleet, serving


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with serving() as running:
        yield running


@pytest.fixture
def address(fleet: Fleet) -> str:
    return f"127.0.0.1:{fleet.server.port}"
