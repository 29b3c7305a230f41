"""The claim loop: takes work as slots are free, hands it to a handler, sees to its outcome."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from orchestrator.domain.errors import FleetError
from orchestrator.domain.events import StepRestarted
from orchestrator.domain.machine import CancelRequested, Failed
from orchestrator.domain.runs import ModelCall, RunError
from orchestrator.domain.work import Claim, Lease, WorkKind
from orchestrator.execution.cancels import CancelListener
from orchestrator.execution.commit import commit
from orchestrator.execution.jobs import Cut, Job, Jobs
from orchestrator.execution.leases import STUBBORN_S, LeaseKeeper
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.policy import Decision, Drop, HandBack, decide
from orchestrator.execution.retry import Backoff, full_jitter
from orchestrator.execution.signals import CutShort, NotRepeatable
from orchestrator.ports.state import Limits, RunStore

log = logging.getLogger(__name__)

Handler = Callable[[Claim], Awaitable[None]]
"""Carries out one item and commits it. `policy` says what follows from what it raises."""

_REFILL_S = 0.002  # a full loop waits so long for more free slots, to claim several at once
_HAND_BACK_S = 2.0  # for all that is handed back at the end


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`slots` items at once; a lease lives `lease_s` beyond the last heartbeat.

    `history` is how many messages of the session come with a claim. `run_timeout_s` holds
    for runs that name no timeout. `max_attempts` is the store's.
    """

    worker: str
    slots: int
    lease_s: float = 10.0
    grace_s: float = 5.0
    idle_poll_s: float = 1.0
    history: int = 0
    run_timeout_s: float = 600.0
    max_attempts: int = Limits().max_attempts
    backoff: Backoff = Backoff()
    stubborn_s: float = STUBBORN_S

    @property
    def lease_ms(self) -> int:
        return int(self.lease_s * 1000)


class ClaimLoop:
    """Runs until `stop` is called; then it finishes what it can within the grace time, and
    hands the rest back.
    """

    def __init__(
        self,
        kind: WorkKind,
        runs: RunStore,
        handler: Handler,
        settings: LoopSettings,
        metrics: ExecutionMetrics,
        *,
        reserve_micros: Callable[[], int] = lambda: 0,
    ) -> None:
        """`reserve_micros` says what an item may cost, at most."""
        self._kind = kind
        self._reserve_micros = reserve_micros
        self._runs = runs
        self._handler = handler
        self._settings = settings
        self._metrics = metrics.of(kind)
        self._jobs = Jobs()
        self._aside: set[asyncio.Task[None]] = set()
        self._claiming = False
        self._stopping = asyncio.Event()
        self._listener = CancelListener(runs, self._jobs)
        self._keeper = LeaseKeeper(
            runs,
            self._jobs,
            lease_s=settings.lease_s,
            on_stubborn=self._abandon,
            stubborn_s=settings.stubborn_s,
        )

    def __len__(self) -> int:
        """How many items are in hand."""
        return len(self._jobs)

    def stop(self) -> None:
        """Stops claiming. `run` returns when the jobs in hand have ended or are handed back."""
        self._stopping.set()

    async def run(self) -> None:
        keeping = asyncio.create_task(self._keeper.run())
        listening = asyncio.create_task(self._listener.run())
        claiming = asyncio.create_task(self._claim_until_stopped())
        try:
            await self._stopped_or_broken(keeping, listening, claiming)
            await self._drain(claiming)
        finally:
            tasks = {keeping, listening, claiming, *_tasks(self._jobs), *self._aside}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=self._settings.stubborn_s)

    async def _stopped_or_broken(self, *lasting: asyncio.Task[None]) -> None:
        """Returns when stopped; raises what ended a task that never ends but by a defect."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({stopping, *lasting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        for task in lasting:
            if task.done():
                task.result()

    async def _claim_until_stopped(self) -> None:
        waits = full_jitter(base_s=0.1, cap_s=2.0)
        while not self._stopping.is_set():
            try:
                await self._claim_some()
                waits = full_jitter(base_s=0.1, cap_s=2.0)
            except FleetError as error:
                log.warning("can't claim %s work: %s", self._kind.value, error.message)
                await asyncio.sleep(next(waits))
            except Exception as error:  # noqa: BLE001 - one bad answer must not end the process
                log.error("can't claim %s work: %s", self._kind.value, _where(error))  # noqa: TRY400
                await asyncio.sleep(next(waits))

    async def _claim_some(self) -> None:
        free = await self._free_slots()
        sent = time.monotonic()
        self._claiming = True
        try:
            claims = await self._runs.claim(
                self._kind,
                worker=self._settings.worker,
                limit=free,
                lease_ms=self._settings.lease_ms,
                history=self._settings.history,
                reserve_micros=self._reserve_micros(),
            )
        finally:
            self._claiming = False
        if self._stopping.is_set():
            await self._hand_back(HandBack(), [claim.lease for claim in claims])
            return
        for claim in claims:
            self._start(claim, sent)
        if len(claims) < free:
            await self._runs.wait_for_work(self._kind, timeout_s=self._settings.idle_poll_s)

    async def _free_slots(self) -> int:
        waited = False
        while (free := self._settings.slots - len(self._jobs)) <= 0:
            waited = True
            self._jobs.freed.clear()
            await self._jobs.freed.wait()
        if waited and free < self._settings.slots // 4:
            await asyncio.sleep(_REFILL_S)
            free = self._settings.slots - len(self._jobs)
        return free

    def _start(self, claim: Claim, sent: float) -> None:
        job = Job(claim, lease_until=sent + self._settings.lease_s)
        self._jobs.add(job)
        self._metrics.claimed(claim)
        job.task = asyncio.create_task(self._carry_out(job), name=claim.lease.item.key)

    async def _carry_out(self, job: Job) -> None:
        began = time.perf_counter()
        try:
            decision = await self._attempt(job)
            if decision is not None:
                job.settling = True
                await self._settle(job.claim, decision)
        finally:
            self._jobs.remove(job)
            self._metrics.ended(time.perf_counter() - began)

    async def _attempt(self, job: Job) -> Decision | None:
        """Has the handler work; returns what is left to be written, None for nothing."""
        claim = job.claim
        if claim.cancel_requested or self._listener.concerns(job):
            return CancelRequested()
        if claim.over_budget:
            return Failed(RunError(reason="BUDGET", message=claim.over_budget))
        if time.monotonic() >= job.lease_until:  # we were stopped, or the claim took too long
            return HandBack()
        remaining_s = max(0.0, claim.left_ms(int(self._settings.run_timeout_s * 1000)) / 1000)
        job.ends_at = time.monotonic() + remaining_s
        deadline = asyncio.timeout(remaining_s)
        try:
            async with deadline:
                await self._handler(claim)
        except (asyncio.CancelledError, NotRepeatable, CutShort) as stopped:
            if job.cut is None and deadline.expired():
                return self._too_late(claim, _taken(stopped))
            return self._cut_off(job, stopped)
        except Exception as error:  # noqa: BLE001 - the run must go on or end, whatever broke
            if deadline.expired():
                return self._too_late(claim)
            return self._failed(claim, error)
        return None

    def _cut_off(self, job: Job, stopped: BaseException) -> Decision:
        match job.cut:
            case Cut.CANCEL:
                return CancelRequested(_taken(stopped))
            case Cut.DRAIN:
                counts = isinstance(stopped, NotRepeatable)
                return HandBack(counts=counts, void=not counts)
            case Cut.LOST:
                return Drop("STALE_LEASE")
            case None if isinstance(stopped, NotRepeatable):
                return HandBack(counts=True)
        current = asyncio.current_task()
        if current is not None and current.cancelling() == 0:  # it came from within the handler
            return self._failed(job.claim, RuntimeError("cancelled from within"))
        raise asyncio.CancelledError from stopped

    def _too_late(self, claim: Claim, taken: tuple[ModelCall, ...] = ()) -> Decision:
        run = claim.run
        limit_s = run.timeout_ms / 1000 or self._settings.run_timeout_s
        return Failed(
            RunError(
                reason="DEADLINE_EXCEEDED",
                message=f"run {run.run_id} took longer than its timeout of {limit_s:g} s",
            ),
            taken,
        )

    def _failed(self, claim: Claim, error: Exception) -> Decision:
        key, attempt = claim.lease.item.key, claim.lease.attempt
        if isinstance(error, FleetError):
            log.warning("%s, attempt %d: %s: %s", key, attempt, error.reason, error.message)
        else:
            # The message may hold a prompt: only its type and place are logged.
            log.error("%s, attempt %d: %s", key, attempt, _where(error))
        return decide(
            error,
            key=key,
            attempt=attempt,
            max_attempts=self._settings.max_attempts,
            backoff=self._settings.backoff,
        )

    async def _settle(self, claim: Claim, decision: Decision) -> None:
        key = claim.lease.item.key
        try:
            match decision:
                case Drop():
                    self._metrics.dropped(decision.reason)
                case HandBack():
                    await self._release(claim.lease, decision)
                case _:
                    await commit(self._runs, claim, decision)
        except FleetError as error:
            log.warning("%s was dropped: %s", key, error.message)
            self._metrics.dropped(error.reason)
        except Exception as error:  # noqa: BLE001 - its lease ends and it is claimed again
            log.error("%s was dropped: %s", key, _where(error))  # noqa: TRY400
            self._metrics.dropped("INTERNAL")

    async def _release(self, lease: Lease, back: HandBack) -> None:
        if back.void and self._kind is WorkKind.REASON:
            await self._runs.emit(lease, [StepRestarted(reason="its worker was stopped")])
        await self._runs.release(lease, delay_ms=back.delay_ms, counts=back.counts)
        self._metrics.handed_back(counts=back.counts)

    async def _hand_back(self, back: HandBack, leases: Iterable[Lease]) -> None:
        releases = [self._release(lease, back) for lease in leases]
        for result in await asyncio.gather(*releases, return_exceptions=True):
            if isinstance(result, Exception):
                log.warning("an item could not be handed back: %s", result)

    def _abandon(self, job: Job) -> None:
        """Gives a handler's slot to others, since it does not stop; sees to its item."""
        claim = job.claim
        log.error("%s does not stop: left to itself", claim.lease.item.key)
        self._jobs.remove(job)
        decision = self._cut_off(job, NotRepeatable()) if job.cut else self._too_late(claim)
        task = asyncio.create_task(self._settle(claim, decision))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _drain(self, claiming: asyncio.Task[None]) -> None:
        if not self._claiming:
            claiming.cancel()  # it waits for work; a claim itself must not be torn
        jobs = _tasks(self._jobs)
        if jobs:
            log.info("finishing %d items, at most %.0f s", len(jobs), self._settings.grace_s)
        await asyncio.wait({claiming, *jobs}, timeout=self._settings.grace_s)
        for job in self._jobs:
            job.cut_off(Cut.DRAIN)
        jobs = _tasks(self._jobs)
        if jobs:
            log.info("handing %d items back", len(jobs))
            await asyncio.wait(jobs, timeout=_HAND_BACK_S)
        stubborn = [job.claim.lease for job in self._jobs if not job.settling]
        await self._hand_back(HandBack(counts=True), stubborn)


def _tasks(jobs: Jobs) -> set[asyncio.Task[None]]:
    return {job.task for job in jobs if job.task is not None}


def _taken(stopped: BaseException) -> tuple[ModelCall, ...]:
    return stopped.calls if isinstance(stopped, CutShort) else ()


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
    return f"{type(error).__name__} at {place}"
