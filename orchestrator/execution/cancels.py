"""Hearing at once which runs are to be cancelled."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.domain.errors import FleetError
from orchestrator.execution.jobs import Cut, Job, Jobs
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.state import RunStore

log = logging.getLogger(__name__)

_REMEMBERED = 1024


class CancelListener:
    """Stops the jobs of a run, and of the runs it started, as their cancel is asked.

    Heartbeats find what it misses.
    """

    def __init__(self, runs: RunStore, jobs: Jobs) -> None:
        self._runs = runs
        self._jobs = jobs
        # A cancel may be heard before the claim that it belongs to has come back.
        self._heard: dict[str, None] = {}

    async def run(self) -> None:
        """Never ends."""
        waits = full_jitter(base_s=0.1, cap_s=2.0)
        while True:
            try:
                async for run_id in self._runs.cancels():
                    waits = full_jitter(base_s=0.1, cap_s=2.0)
                    self._hear(run_id)
            except FleetError as error:
                log.warning("can't hear of cancels: %s", error.message)
            await asyncio.sleep(next(waits))

    def concerns(self, job: Job) -> bool:
        return bool(self._heard) and any(run_id in self._heard for run_id in job.concerns)

    def _hear(self, run_id: str) -> None:
        self._heard[run_id] = None
        if len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        for job in self._jobs:
            if run_id in job.concerns:
                job.cut_off(Cut.CANCEL)
