"""State in this process's memory: for tests and trials, gone when the process ends.

It keeps every promise of the ports but durability and more than one process,
and is the model that the Redis adapter's scripts are compared with.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestrator.adapters.memory_state.agents import MemoryAgentStore
from orchestrator.adapters.memory_state.database import Database
from orchestrator.adapters.memory_state.dead_letters import MemoryDeadLetters
from orchestrator.adapters.memory_state.feed import MemoryEventFeed
from orchestrator.adapters.memory_state.ledger import MemoryLedger
from orchestrator.adapters.memory_state.runs import MemoryRunStore
from orchestrator.adapters.memory_state.sessions import MemorySessionStore
from orchestrator.ports.state import Limits, State


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_memory_state(
    *, limits: Limits | None = None, now_ms: Callable[[], int] = _now_ms
) -> AsyncIterator[State]:
    """Opens an empty state. `now_ms` is its clock, in milliseconds of the Unix epoch."""
    database = Database(limits=limits or Limits(), now_ms=now_ms)
    yield State(
        agents=MemoryAgentStore(database),
        sessions=MemorySessionStore(database),
        runs=MemoryRunStore(database),
        feed=MemoryEventFeed(database),
        dead_letters=MemoryDeadLetters(database),
        ledger=MemoryLedger(database),
    )
