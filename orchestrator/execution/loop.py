"""The claim loop: takes work as slots are free, keeps its leases alive, hands it to a handler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.domain.errors import FailedPrecondition, FleetError, StaleLease, Unavailable
from orchestrator.domain.machine import CancelRequested, Failed
from orchestrator.domain.runs import RunError
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.execution.commit import commit
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.state import LeaseState, RunStore

log = logging.getLogger(__name__)

Handler = Callable[[Claim], Awaitable[None]]
"""Carries out one item and commits it. What it raises ends the run."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`slots` items at once; a lease lives `lease_s` beyond the last heartbeat."""

    worker: str
    slots: int
    lease_s: float = 10.0
    grace_s: float = 5.0
    idle_poll_s: float = 1.0

    @property
    def lease_ms(self) -> int:
        return int(self.lease_s * 1000)


@dataclass(slots=True)
class _Job:
    claim: Claim
    task: asyncio.Task[None]
    cancel_requested: bool = False


class ClaimLoop:
    """Runs until `stop` is called, then finishes what it can within the grace time."""

    def __init__(
        self,
        kind: WorkKind,
        runs: RunStore,
        handler: Handler,
        settings: LoopSettings,
        metrics: ExecutionMetrics,
    ) -> None:
        self._kind = kind
        self._runs = runs
        self._handler = handler
        self._settings = settings
        self._metrics = metrics
        self._jobs: dict[str, _Job] = {}
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Stops claiming. `run` returns when the jobs in hand have ended."""
        self._stopping.set()

    async def run(self) -> None:
        beats = asyncio.create_task(self._keep_leases())
        try:
            await self._claim_until_stopped()
            await self._drain()
        finally:
            for job in self._jobs.values():
                job.task.cancel()
            beats.cancel()
            await asyncio.gather(
                beats, *(job.task for job in self._jobs.values()), return_exceptions=True
            )

    async def _claim_until_stopped(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        waits = full_jitter(base_s=0.1, cap_s=2.0)
        try:
            while not self._stopping.is_set():
                try:
                    await self._or_stop(self._claim_some(), stopping)
                    waits = full_jitter(base_s=0.1, cap_s=2.0)
                except Unavailable as error:
                    log.warning("can't claim %s work: %s", self._kind.value, error.message)
                    await self._or_stop(asyncio.sleep(next(waits)), stopping)
        finally:
            stopping.cancel()

    @staticmethod
    async def _or_stop(work: Awaitable[None], stopping: asyncio.Task[bool]) -> None:
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _claim_some(self) -> None:
        free = self._settings.slots - len(self._jobs)
        if free <= 0:
            self._freed.clear()
            await self._freed.wait()
            return
        claims = await self._runs.claim(
            self._kind,
            worker=self._settings.worker,
            limit=free,
            lease_ms=self._settings.lease_ms,
        )
        for claim in claims:
            self._start(claim)
        if not claims:
            await self._runs.wait_for_work(self._kind, timeout_s=self._settings.idle_poll_s)

    def _start(self, claim: Claim) -> None:
        key = claim.lease.item.key
        self._jobs[key] = _Job(claim, asyncio.create_task(self._carry_out(claim), name=key))
        self._metrics.claimed(self._kind, claim.lease.attempt)

    async def _carry_out(self, claim: Claim) -> None:
        key = claim.lease.item.key
        with self._metrics.running(self._kind):
            try:
                await self._handle(claim)
            except (StaleLease, FailedPrecondition) as error:
                log.warning("%s was dropped: %s", key, error.message)
                self._metrics.dropped(self._kind, error.reason)
            except FleetError as error:
                log.warning("%s could not be committed: %s", key, error.message)
                self._metrics.dropped(self._kind, error.reason)
            finally:
                self._jobs.pop(key, None)
                self._freed.set()

    async def _handle(self, claim: Claim) -> None:
        key = claim.lease.item.key
        try:
            await self._handler(claim)
        except (StaleLease, FailedPrecondition):
            raise
        except FleetError as error:
            if error.reason == "STORE_UNAVAILABLE":
                raise  # the lease runs out and the item is claimed again
            await commit(
                self._runs, claim, Failed(RunError(reason=error.reason, message=error.message))
            )
        except asyncio.CancelledError:
            job = self._jobs.get(key)
            if job is None or not job.cancel_requested:
                raise
            await commit(self._runs, claim, CancelRequested())
        except Exception as error:  # noqa: BLE001 - the run must end, whatever broke
            # The message may hold a prompt: only its type and place are logged.
            log.error("%s failed: %s", key, _where(error))  # noqa: TRY400
            await commit(
                self._runs,
                claim,
                Failed(RunError(reason="INTERNAL", message=f"internal error in {key}")),
            )

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            jobs = list(self._jobs.values())
            if not jobs:
                continue
            try:
                states = await self._runs.extend(
                    [job.claim.lease for job in jobs], lease_ms=self._settings.lease_ms
                )
            except Unavailable as error:
                log.warning("can't extend %d leases: %s", len(jobs), error.message)
                continue
            for job, state in zip(jobs, states, strict=True):
                self._apply(job, state)

    @staticmethod
    def _apply(job: _Job, state: LeaseState) -> None:
        match state:
            case LeaseState.HELD:
                return
            case LeaseState.CANCEL_REQUESTED if not job.cancel_requested:
                job.cancel_requested = True
                job.task.cancel()
            case LeaseState.LOST:
                job.task.cancel()

    async def _drain(self) -> None:
        tasks = [job.task for job in self._jobs.values()]
        if tasks:
            log.info("finishing %d items, at most %.0f s", len(tasks), self._settings.grace_s)
            await asyncio.wait(tasks, timeout=self._settings.grace_s)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
    return f"{type(error).__name__} at {place}"
