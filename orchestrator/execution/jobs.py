"""The items a process has in hand."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.domain.work import Claim


class Cut(StrEnum):
    """Why a handler is stopped. CANCEL: the run is to end. LOST: the lease is not ours, or
    can't be prolonged in time. DRAIN: the process stops.
    """

    CANCEL = "cancel"
    LOST = "lost"
    DRAIN = "drain"


@dataclass(slots=True, eq=False)
class Job:
    """`lease_until` is when the lease surely still holds, on our monotonic clock.

    `ends_at` is when its run's time is over, on the same clock. `settling`: its handler has
    ended and the outcome is being written.
    """

    claim: Claim
    lease_until: float
    task: asyncio.Task[None] | None = None
    cut: Cut | None = None
    cut_at: float = math.inf
    ends_at: float = math.inf
    settling: bool = False

    def cut_off(self, why: Cut) -> None:
        """Stops the handler. A lost lease stops the writing, too; else the first reason stands."""
        if self.cut is Cut.LOST or (why is not Cut.LOST and (self.cut or self.settling)):
            return
        self.cut, self.cut_at = why, time.monotonic()
        if self.task is not None:
            self.task.cancel()

    @property
    def concerns(self) -> tuple[str, str]:
        """The runs whose cancel ends this job: its own and the one that started it."""
        item = self.claim.lease.item
        return item.run_id, item.parent_run_id


@dataclass(slots=True)
class Jobs:
    """By the item's key. `freed` is set when one ends."""

    _jobs: dict[str, Job] = field(default_factory=dict)
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __contains__(self, job: Job) -> bool:
        return self._jobs.get(job.claim.lease.item.key) is job

    def add(self, job: Job) -> None:
        self._jobs[job.claim.lease.item.key] = job

    def remove(self, job: Job) -> None:
        if job in self:
            del self._jobs[job.claim.lease.item.key]
            self.freed.set()
