"""The event feed in memory: watchers read the run's own list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from orchestrator.adapters.memory_state.database import Database
from orchestrator.domain.errors import OutOfRange
from orchestrator.domain.events import RunEvent
from orchestrator.ports.state import EventFeed

BATCH = 500


class MemoryEventFeed(EventFeed):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def read(
        self, tenant: str, run_id: str, *, after_seq: int, limit: int
    ) -> tuple[RunEvent, ...]:
        events = self._db.run(tenant, run_id).events
        earliest = events[0].seq if events else 1
        if after_seq + 1 < earliest:
            raise OutOfRange(
                f"events of run {run_id} before {earliest} are gone; "
                f"after_seq must be at least {earliest - 1}, not {after_seq}",
                metadata={"earliest_seq": str(earliest)},
            )
        first = after_seq + 1 - earliest
        return tuple(events[first : first + limit])

    async def follow(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncIterator[RunEvent]:
        changed = asyncio.Event()
        watchers = self._db.watchers.setdefault(run_id, set())
        watchers.add(changed)
        try:
            while True:
                changed.clear()
                events = await self.read(tenant, run_id, after_seq=after_seq, limit=BATCH)
                for event in events:
                    after_seq = event.seq
                    yield event
                if events:
                    continue
                if self._db.run(tenant, run_id).run.state.terminal:
                    return
                await changed.wait()
        finally:
            watchers.discard(changed)
            if not watchers:
                self._db.watchers.pop(run_id, None)
