"""The dead letters in memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.memory_state.database import Database
from orchestrator.domain import pages
from orchestrator.domain.errors import NotFound
from orchestrator.domain.work import DeadLetter
from orchestrator.ports.state import DeadLetters, Page


class MemoryDeadLetters(DeadLetters):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[DeadLetter]:
        before = pages.decode("dead letters", tenant, token)
        kept = self._db.dead_letters.get(tenant, ())
        found = [e for e in reversed(kept) if not before or e.entry_id < before]
        last = found[limit - 1].entry_id if len(found) > limit else ""
        return Page(tuple(found[:limit]), pages.encode("dead letters", tenant, last))

    async def get(self, tenant: str, entry_id: str) -> DeadLetter:
        for entry in self._db.dead_letters.get(tenant, ()):
            if entry.entry_id == entry_id:
                return entry
        raise NotFound(f"there is no dead letter {entry_id[:60]!r}")

    async def remove(self, tenant: str, entry_ids: Sequence[str]) -> int:
        kept = self._db.dead_letters.get(tenant)
        gone = [entry for entry in kept or () if entry.entry_id in entry_ids]
        for entry in gone:
            assert kept is not None
            kept.remove(entry)
        return len(gone)
