from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.ports.state import Limits, State

Open = Callable[[Limits], AbstractAsyncContextManager[State]]


@pytest.fixture(params=["memory"])
def open_state(request: pytest.FixtureRequest) -> Open:
    """Opens an empty state of one adapter."""
    return lambda limits: open_memory_state(limits=limits)


@pytest.fixture
async def state(open_state: Open) -> AsyncIterator[State]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(open_state(Limits()))
