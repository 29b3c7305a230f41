"""What a stopped process does with what it has in hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.domain.events import Interrupted, TextDelta
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.runs import RunState
from orchestrator.domain.tools import Effect
from orchestrator.domain.work import WorkKind
from tests.orchestrator.execution.outages import with_outages
from tests.orchestrator.worker.given import Fleet, Times, working
from tests.orchestrator.worker.test_cancelling import SLOW, WORKER, Slow


def stop(fleet: Fleet) -> None:
    for loop in fleet.loops:
        loop.stop()


async def test_a_step_that_ends_within_the_grace_time_is_committed() -> None:
    gate = asyncio.Event()
    async with working([["Hel", gate, "lo"], ["never"]]) as fleet:
        run = await fleet.start("hi")
        await fleet.seen(run, TextDelta)
        stop(fleet)
        gate.set()
        ended = await fleet.ended(run)
    assert ended.result == "Hello"


async def test_a_stopped_process_claims_nothing_more() -> None:
    async with working([["never"]]) as fleet:
        stop(fleet)
        await fleet.stopped()
        run = await fleet.start("hi")
        waiting = await fleet.now(run)
    assert waiting.state is RunState.QUEUED
    assert not fleet.model.requests


async def test_what_does_not_end_in_time_is_handed_back_at_once_and_costs_no_attempt() -> None:
    async with open_memory_state() as state:
        times = Times(lease_s=600.0, grace_s=0.05)
        async with working([["Hel", asyncio.Event()]], state=state, times=times) as first:
            run = await first.start("hi")
            await first.seen(run, TextDelta)
            stop(first)
            await first.stopped()
            stopped = first.model.stopped
            (claim,) = await state.runs.claim(
                WorkKind.REASON, worker="test", limit=1, lease_ms=60_000
            )
            await state.runs.release(claim.lease, counts=False)
        async with working([["Hello"]], state=state) as second:
            ended = await second.ended(run)
    assert stopped == 1
    assert claim.lease.attempt == 1
    assert ended.result == "Hello"


async def test_a_call_that_must_not_happen_twice_is_not_run_again_after_a_stop() -> None:
    slow = Slow(effect=Effect.AT_MOST_ONCE)
    async with open_memory_state() as state:
        times = Times(lease_s=600.0, grace_s=0.05)
        async with working(SLOW, tools=[slow], state=state, times=times) as first:
            run = await first.start("go", spec=WORKER)
            await slow.begun.wait()
            stop(first)
            await first.stopped()
        async with working(SLOW, tools=[slow], state=state) as second:
            asked = await second.seen(run, Interrupted)
    assert asked.reason is InterruptKind.OUTCOME_UNKNOWN
    assert slow.calls == 1


async def test_a_tool_that_ignores_its_stop_does_not_keep_the_process() -> None:
    slow = Slow(stubborn=True)
    async with open_memory_state() as state:
        times = Times(lease_s=600.0, grace_s=0.05, stubborn_s=0.1)
        async with working(SLOW, tools=[slow], state=state, times=times) as first:
            run = await first.start("go", spec=WORKER)
            await slow.begun.wait()
            stop(first)
            try:
                await first.stopped()
                (claim,) = await state.runs.claim(
                    WorkKind.TOOL, worker="test", limit=1, lease_ms=60_000
                )
            finally:
                slow.let_go.set()
    assert claim.lease.item.run_id == run.run_id


async def test_work_that_was_claimed_while_the_stop_came_is_handed_back() -> None:
    async with open_memory_state() as state:
        runs = with_outages(state.runs)
        runs.held["claim"] = asyncio.Event()
        async with working([["never"]], state=replace(state, runs=runs)) as fleet:
            run = await fleet.start("hi")
            async with asyncio.timeout(20):
                while (await fleet.now(run)).state is RunState.QUEUED:
                    runs.held["claim"].set()
                    runs.held["claim"] = asyncio.Event()
                    await asyncio.sleep(0.01)
            stop(fleet)
            runs.held["claim"].set()
            await fleet.stopped()
            (claim,) = await state.runs.claim(
                WorkKind.REASON, worker="test", limit=1, lease_ms=60_000
            )
    assert (claim.lease.item.run_id, claim.lease.attempt) == (run.run_id, 1)
    assert not fleet.model.requests
