"""The claim loop, whatever store and handlers do."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from orchestrator.domain.errors import (
    Exhausted,
    FleetError,
    InvalidInput,
    NotFound,
    StaleLease,
    Unavailable,
)
from orchestrator.domain.events import StepRestarted
from orchestrator.domain.runs import RunState
from orchestrator.domain.work import Claim
from orchestrator.execution.commit import commit
from orchestrator.execution.loop import Handler
from orchestrator.ports.state import RunStore
from tests.orchestrator.execution.given import SETTINGS, TENANT, answer, doing, looping


async def test_never_more_items_are_taken_than_there_are_slots() -> None:
    gate, at_once = asyncio.Event(), [0, 0]

    async def work(_: Claim) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await gate.wait()
        at_once[0] -= 1

    async with looping(doing(work), settings=replace(SETTINGS, slots=3)) as fleet:
        runs = [await fleet.start() for _ in range(10)]
        await fleet.until(lambda: at_once[0] == 3)
        gate.set()
        ended = [await fleet.ended(run) for run in runs]
    assert at_once[1] == 3
    assert {run.state for run in ended} == {RunState.COMPLETED}


async def test_several_items_are_taken_in_one_claim() -> None:
    gate = asyncio.Event()
    async with looping(doing(lambda _: gate.wait()), settings=replace(SETTINGS, slots=8)) as fleet:
        fleet.runs.held["claim"] = asyncio.Event()
        runs = [await fleet.start() for _ in range(8)]
        before = fleet.runs.calls["claim"]
        fleet.runs.held.pop("claim").set()
        await fleet.until(lambda: len(fleet.loop) == 8)
        claims = fleet.runs.calls["claim"] - before
        gate.set()
        for run in runs:
            await fleet.ended(run)
    assert claims <= 2


async def test_the_loop_outlives_a_store_that_was_away() -> None:
    async with looping() as fleet:
        fleet.runs.away |= {"claim", "extend", "reap", "overdue", "loads", "release", "commit"}
        run = await fleet.start()
        before = fleet.runs.calls["claim"]
        await fleet.until(lambda: fleet.runs.calls["claim"] > before + 2)
        fleet.runs.away.clear()
        ended = await fleet.ended(run)
    assert ended.state is RunState.COMPLETED


async def test_a_commit_whose_reply_was_lost_is_written_once() -> None:
    async with looping() as fleet:
        fleet.runs.lost.add("commit")
        run = await fleet.start()
        ended = await fleet.ended(run)
        messages = await fleet.state.sessions.messages(TENANT, run.session_id)
    assert ended.state is RunState.COMPLETED
    assert len(messages) == 2


async def test_a_job_whose_lease_cannot_be_kept_stops_before_the_lease_ends() -> None:
    held_at_stop: list[bool] = []

    def handler(runs: RunStore) -> Handler:
        async def handle(claim: Claim) -> None:
            if claim.lease.attempt > 1:
                await commit(runs, claim, answer(claim))
                return
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await runs.emit(claim.lease, [])
                except StaleLease:
                    held_at_stop.append(False)
                else:
                    held_at_stop.append(True)

        return handle

    async with looping(handler, settings=replace(SETTINGS, lease_s=1.0)) as fleet:
        fleet.runs.hanging.add("extend")
        run = await fleet.start()
        await fleet.until(lambda: bool(held_at_stop))
        fleet.runs.hanging.clear()
        ended = await fleet.ended(run)
    assert held_at_stop == [True]
    assert ended.state is RunState.COMPLETED


async def test_a_lease_is_kept_as_long_as_the_work_lasts() -> None:
    gate = asyncio.Event()
    async with looping(
        doing(lambda _: gate.wait()), settings=replace(SETTINGS, lease_s=0.3)
    ) as fleet:
        run = await fleet.start()
        await fleet.until(lambda: fleet.runs.calls["extend"] > 6)
        gate.set()
        ended = await fleet.ended(run)
        events = await fleet.state.feed.read(TENANT, run.run_id, after_seq=0, limit=100)
    assert ended.state is RunState.COMPLETED
    assert not any(isinstance(e.payload, StepRestarted) for e in events)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("down", reason="MODEL_UNAVAILABLE"),
        Unavailable("away", reason="STORE_UNAVAILABLE"),
        ValueError("a defect"),
        asyncio.CancelledError("from within"),
    ],
    ids=["model", "store", "defect", "cancel of its own"],
)
async def test_what_may_get_better_is_tried_again(error: BaseException) -> None:
    attempts: list[int] = []

    async def work(claim: Claim) -> None:
        attempts.append(claim.lease.attempt)
        if len(attempts) < 3:
            raise error

    async with looping(doing(work)) as fleet:
        ended = await fleet.ended(await fleet.start())
        back = fleet.figure("fleet_items_handed_back_total", kind="reason", counts="true")
    assert attempts == [1, 2, 3]
    assert ended.state is RunState.COMPLETED
    assert back == 2


async def test_what_stays_broken_fails_in_the_end_and_leaves_a_dead_letter() -> None:
    tries = []

    async def work(claim: Claim) -> None:
        tries.append(claim)
        raise Unavailable("the model is down", reason="MODEL_UNAVAILABLE")

    async with looping(doing(work), settings=replace(SETTINGS, max_attempts=3)) as fleet:
        run = await fleet.start()
        ended = await fleet.ended(run)
        (letter,) = (await fleet.state.dead_letters.list(TENANT, limit=9, token="")).items
    assert len(tries) == 3
    assert ended.error is not None
    assert ended.error.reason == letter.reason == "MODEL_UNAVAILABLE"
    assert letter.message == "the model is down"
    assert (letter.run_id, letter.item_key) == (run.run_id, f"{run.run_id}:1")


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("too long", reason="CONTEXT_LENGTH"),
        Exhausted("spent", reason="BUDGET"),
        NotFound("no such agent"),
    ],
    ids=["context", "budget", "not found"],
)
async def test_what_cannot_get_better_fails_at_once_and_leaves_no_dead_letter(
    error: FleetError,
) -> None:
    tries = []

    async def work(claim: Claim) -> None:
        tries.append(claim)
        raise error

    async with looping(doing(work)) as fleet:
        ended = await fleet.ended(await fleet.start())
        letters = (await fleet.state.dead_letters.list(TENANT, limit=9, token="")).items
    assert len(tries) == 1
    assert ended.error is not None
    assert ended.error.reason == error.reason
    assert not letters


async def test_a_full_queue_is_waited_for_and_costs_no_attempt() -> None:
    attempts: list[int] = []

    async def work(claim: Claim) -> None:
        attempts.append(claim.lease.attempt)
        if len(attempts) < 8:
            raise Exhausted("full", reason="QUEUE_FULL", retry_after_s=0.001)

    async with looping(doing(work)) as fleet:
        ended = await fleet.ended(await fleet.start())
    assert attempts == [1] * 8
    assert ended.state is RunState.COMPLETED


async def test_a_run_that_nobody_works_on_ends_at_its_timeout() -> None:
    async with looping() as fleet:
        fleet.loop.stop()
        await fleet.running
        ended = await fleet.ended(await fleet.start(timeout_ms=50))
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"


async def test_a_handler_that_ignores_the_end_of_its_runs_time_does_not_keep_the_run() -> None:
    gate = asyncio.Event()

    async def work(_: Claim) -> None:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()

    async with looping(doing(work), settings=replace(SETTINGS, stubborn_s=0.05)) as fleet:
        ended = await fleet.ended(await fleet.start(timeout_ms=50))
        assert len(fleet.loop) == 0
        gate.set()
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"


async def test_a_claim_that_comes_after_the_end_of_its_lease_is_not_worked_on() -> None:
    attempts: list[int] = []

    async def work(claim: Claim) -> None:
        attempts.append(claim.lease.attempt)

    async with looping(doing(work), settings=replace(SETTINGS, lease_s=0.2)) as fleet:
        late = fleet.runs.held["claim"] = asyncio.Event()
        run = await fleet.start()
        await fleet.until(lambda: fleet.figure("fleet_leases_reaped_total") == 1)
        fleet.runs.held.clear()
        late.set()
        ended = await fleet.ended(run)
    assert (attempts, ended.state) == ([2], RunState.COMPLETED)


async def test_a_sweeper_lives_through_a_defect() -> None:
    async with looping() as fleet:
        fleet.loop.stop()
        await fleet.running
        fleet.runs.broken.add("reap")
        before = fleet.runs.calls["reap"]
        await fleet.until(lambda: fleet.runs.calls["reap"] > before + 2)
        fleet.runs.broken.clear()
        ended = await fleet.ended(await fleet.start(timeout_ms=50))
    assert ended.state is RunState.FAILED


async def test_a_claim_that_is_to_be_cancelled_is_not_worked_on() -> None:
    gate, worked = asyncio.Event(), []

    async def work(claim: Claim) -> None:
        worked.append(claim.lease.attempt)
        await gate.wait()

    settings = replace(SETTINGS, slots=1, lease_s=0.3)
    async with looping(doing(work), settings=settings) as fleet:
        run = await fleet.start()
        await fleet.until(lambda: bool(worked))
        fleet.runs.deaf = True
        fleet.runs.away |= {"extend", "claim"}
        await fleet.runs.inner.cancel(TENANT, run.run_id)
        await fleet.until(lambda: len(fleet.loop) == 0)
        fleet.runs.away.clear()
        ended = await fleet.ended(run)
    assert ended.state is RunState.CANCELLED
    assert worked == [1]


async def test_waiting_times_are_told_by_tenant_up_to_a_limit() -> None:
    async with looping() as fleet:
        for number in range(60):
            await fleet.ended(await fleet.start(tenant=f"t{number:02}"))
        named = fleet.figure("fleet_wait_seconds_count", kind="reason", tenant="t00")
        others = fleet.figure("fleet_wait_seconds_count", kind="reason", tenant="other")
    assert (named, others) == (1, 10)
