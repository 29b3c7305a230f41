"""What no worker is there to do: expired leases, runs past their timeout, fairness figures."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from orchestrator.domain.errors import Conflict, FailedPrecondition, FleetError, NotFound
from orchestrator.domain.fairness import Service, window_index
from orchestrator.domain.machine import Failed, advance
from orchestrator.domain.runs import Run, RunError
from orchestrator.domain.work import WorkKind
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.ports.state import RunStore, TenantLoad

log = logging.getLogger(__name__)

BATCH = 100
_WINDOW_SAMPLES = 6


class Sweeper:
    """Any number may run at once: each pass is bounded, and every write safe to repeat."""

    def __init__(
        self,
        runs: RunStore,
        metrics: ExecutionMetrics,
        *,
        every_s: float = 0.5,
        sample_every_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._metrics = metrics
        self._every_s = every_s
        self._sample_every_s = sample_every_s
        self._clock = clock
        self._next_sample = clock()
        self._samples: dict[WorkKind, deque[Mapping[str, Service]]] = {
            kind: deque(maxlen=_WINDOW_SAMPLES) for kind in WorkKind
        }

    async def run(self) -> None:
        """Never ends. Waits of random length keep many sweepers from marching in step."""
        while True:
            full = await self._survive(self.sweep)
            await self._survive(self.sample)
            if not full:
                await asyncio.sleep(random.uniform(0.5, 1.5) * self._every_s)  # noqa: S311

    @staticmethod
    async def _survive(work: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await work()
        except FleetError as error:
            log.warning("can't sweep: %s", error.message)
        except Exception as error:  # noqa: BLE001 - one bad answer must not end the process
            log.error("can't sweep: %s", type(error).__name__)  # noqa: TRY400
        return False

    async def sweep(self) -> bool:
        """Takes back expired leases, ends overdue runs, cancels those whose parent has ended;
        says whether there may be more.
        """
        reaped = await self._runs.reap(limit=BATCH)
        if reaped:
            log.warning("%d expired leases were taken back", reaped)
            self._metrics.reaped(reaped)
        overdue = await self._runs.overdue(limit=BATCH)
        for orphan in await self._runs.orphans(limit=BATCH):
            with suppress(NotFound):
                await self._runs.cancel(orphan.tenant, orphan.run_id)
        ended = [await self._end(late.run, late.version) for late in overdue]
        return reaped >= BATCH or (len(overdue) >= BATCH and any(ended))

    async def _end(self, run: Run, version: int) -> bool:
        error = RunError(
            reason="DEADLINE_EXCEEDED",
            message=f"run {run.run_id} took longer than its timeout of {run.timeout_ms / 1000:g} s",
        )
        try:
            await self._runs.change(advance(run, Failed(error)), version=version)
        except (Conflict, FailedPrecondition, NotFound):
            return False  # it changed meanwhile: the next pass sees it as it is then
        self._metrics.overdue()
        return True

    async def sample(self) -> bool:
        """Looks at the fair queue when it is time to; says False."""
        if self._clock() >= self._next_sample:
            self._next_sample = self._clock() + self._sample_every_s
            for kind in WorkKind:
                self._sampled(kind, await self._runs.loads(kind))
        return False

    def _sampled(self, kind: WorkKind, loads: tuple[TenantLoad, ...]) -> None:
        self._metrics.loaded(kind, loads)
        samples = self._samples[kind]
        samples.append(
            {load.tenant: Service(load.served, load.weight, load.queued > 0) for load in loads}
        )
        index = window_index(samples)
        if index is not None:
            self._metrics.fair(kind, index)
