"""A claim loop over memory state, with a handler of the test's own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.domain.machine import InferenceFinished, Submitted, advance
from orchestrator.domain.runs import Run, StepRecord
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.execution.commit import commit
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import Backoff
from orchestrator.execution.sweeper import Sweeper
from orchestrator.ports.state import RunStore, State
from tests.orchestrator.execution.outages import OutageRuns, with_outages

TENANT = "acme"
SETTINGS = LoopSettings(
    worker="w", slots=4, idle_poll_s=0.05, backoff=Backoff(base_s=0.01, cap_s=0.02)
)


@dataclass
class Looping:
    state: State
    runs: OutageRuns
    loop: ClaimLoop
    registry: CollectorRegistry
    running: asyncio.Task[None]
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def start(self, *, tenant: str = TENANT, timeout_ms: int = 0) -> Run:
        made = await self.runs.inner.register(
            tenant, f"r{next(self.numbers)}", fingerprint="f", session_id=""
        )
        run = Run(
            run_id=made.run_id,
            tenant=tenant,
            session_id=made.session_id,
            agent="a@1",
            input="hi",
            timeout_ms=timeout_ms,
        )
        await self.runs.inner.submit(advance(run, Submitted()), session_labels={})
        return run

    async def now(self, run: Run) -> Run:
        return await self.runs.inner.get(run.tenant, run.run_id)

    async def ended(self, run: Run) -> Run:
        async with asyncio.timeout(20):
            async for _ in self.state.feed.follow(run.tenant, run.run_id, after_seq=0):
                pass
        return await self.now(run)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def answering(runs: RunStore) -> Handler:
    """Ends each run with an answer."""

    async def handle(claim: Claim) -> None:
        await commit(runs, claim, answer(claim))

    return handle


def answer(claim: Claim) -> InferenceFinished:
    step, attempt = claim.lease.item.step, claim.lease.attempt
    record = StepRecord(step=step, attempt=attempt, model="m", finish_reason="stop")
    return InferenceFinished("ok", (), record)


@asynccontextmanager
async def looping(
    handler: Callable[[RunStore], Handler] = answering, *, settings: LoopSettings = SETTINGS
) -> AsyncIterator[Looping]:
    async with open_memory_state() as state:
        runs, registry = with_outages(state.runs), CollectorRegistry()
        metrics = ExecutionMetrics(registry)
        loop = ClaimLoop(WorkKind.REASON, runs, handler(runs), settings, metrics)
        tasks = [
            asyncio.create_task(loop.run()),
            asyncio.create_task(Sweeper(runs, metrics, every_s=0.02).run()),
        ]
        try:
            yield Looping(replace(state, runs=runs), runs, loop, registry, tasks[0])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def doing(work: Callable[[Claim], Awaitable[object]]) -> Callable[[RunStore], Handler]:
    """A handler that does that before it answers."""

    def made(runs: RunStore) -> Handler:
        async def handle(claim: Claim) -> None:
            await work(claim)
            await commit(runs, claim, answer(claim))

        return handle

    return made
