"""Keeping the leases of jobs alive, and stopping those whose lease can't be kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from orchestrator.domain.errors import FleetError
from orchestrator.execution.jobs import Cut, Job, Jobs
from orchestrator.ports.state import LeaseState, RunStore

log = logging.getLogger(__name__)

_BEATS = 3  # heartbeats in the time of a lease
_LOOKS = 4  # looks at the clock between two heartbeats
_MARGIN = 0.1  # of a lease: a job without heartbeats stops so long before it ends
STUBBORN_S = 2.0
"""A handler that has not ended so long after it was stopped is left to itself."""


class LeaseKeeper:
    """Heartbeats for all jobs at once; `on_stubborn` gets each job that does not stop."""

    def __init__(
        self,
        runs: RunStore,
        jobs: Jobs,
        *,
        lease_s: float,
        on_stubborn: Callable[[Job], None],
        stubborn_s: float = STUBBORN_S,
    ) -> None:
        self._runs = runs
        self._jobs = jobs
        self._lease_s = lease_s
        self._on_stubborn = on_stubborn
        self._stubborn_s = stubborn_s

    async def run(self) -> None:
        """Never ends. A heartbeat that hangs does not keep us from looking at the clock."""
        beat: asyncio.Task[None] | None = None
        every_s = self._lease_s / _BEATS
        look_s = min(every_s / _LOOKS, self._stubborn_s)
        next_beat = time.monotonic() + every_s
        try:
            while True:
                await asyncio.sleep(look_s)
                now = time.monotonic()
                if now >= next_beat and (beat is None or beat.done()):
                    next_beat = now + every_s
                    beat = asyncio.create_task(self._beat(now))
                self._look(now)
        finally:
            if beat is not None:
                beat.cancel()
                await asyncio.gather(beat, return_exceptions=True)

    def _look(self, now: float) -> None:
        for job in self._jobs:
            if now >= job.lease_until - self._lease_s * _MARGIN and job.cut is not Cut.LOST:
                log.warning("%s stops: its lease ends", job.claim.lease.item.key)
                job.cut_off(Cut.LOST)
            elif not job.settling and now >= min(job.cut_at, job.ends_at) + self._stubborn_s:
                self._on_stubborn(job)

    async def _beat(self, sent: float) -> None:
        jobs = [job for job in self._jobs if job.cut is not Cut.LOST]
        if not jobs:
            return
        try:
            states = await self._runs.extend(
                [job.claim.lease for job in jobs], lease_ms=int(self._lease_s * 1000)
            )
        except FleetError as error:
            log.warning("can't extend %d leases: %s", len(jobs), error.message)
            return
        except Exception as error:  # noqa: BLE001 - the next heartbeat may fare better
            log.error("can't extend %d leases: %s", len(jobs), type(error).__name__)  # noqa: TRY400
            return
        for job, state in zip(jobs, states, strict=True):
            if job in self._jobs:
                self._apply(job, state, sent)

    def _apply(self, job: Job, state: LeaseState, sent: float) -> None:
        if state is LeaseState.LOST:
            job.cut_off(Cut.LOST)
            return
        # The store counted from when it got the heartbeat, which is later than we sent it.
        job.lease_until = sent + self._lease_s
        if state is LeaseState.CANCEL_REQUESTED:
            job.cut_off(Cut.CANCEL)
