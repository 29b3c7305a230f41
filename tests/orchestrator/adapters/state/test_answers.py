"""Transitions that belong to no lease: answers to interrupts, and other changes from outside."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.errors import FailedPrecondition, NotFound, StaleLease, VersionConflict
from orchestrator.domain.events import Interrupted, StateChanged, ToolCallFinished
from orchestrator.domain.interrupts import Answered, Approved, Denied, InterruptKind
from orchestrator.domain.machine import (
    Failed,
    InterruptExpired,
    Resumed,
    ToolFinished,
    ToolOutcomeUnknown,
    Transition,
    advance,
)
from orchestrator.domain.messages import Role
from orchestrator.domain.runs import BusyPolicy, RunError, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import State
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    a_moment,
    answer,
    asks_for_tools,
    call_id,
    claim_one,
    claimed,
    committed,
    eventually,
    payloads,
    resumed,
    submitted,
    tool_result,
    with_tools,
)

APPROVAL = {"c0": InterruptKind.APPROVAL}
REPLY = {"c0": InterruptKind.REPLY}


async def test_an_approved_call_is_claimed_at_once_and_starts_afresh(state: State) -> None:
    run = await with_tools(state, gates=APPROVAL)
    assert await claimed(state, WorkKind.TOOL) == ()
    await resumed(state, run, Approved())
    claim = await claim_one(state, WorkKind.TOOL)
    assert (claim.run.state, claim.lease.attempt) == (RunState.WAITING_FOR_TOOLS, 1)
    assert claim.run.pending[0].approved
    await state.runs.commit(claim, tool_result(claim))
    assert (await claim_one(state)).run.step == 2
    kinds = [e.kind for e in await payloads(state, run)]
    assert kinds[2:] == [
        "tool_call_requested",
        "interrupted",
        "state_changed",
        "state_changed",
        "tool_call_finished",
        "state_changed",
    ]


@pytest.mark.parametrize("reply", [Denied(reason="no"), Answered(content="yes")])
async def test_an_answer_joins_like_a_result_and_its_call_is_never_run(
    state: State, reply: Denied | Answered
) -> None:
    run = await with_tools(state, gates=REPLY, ttl_ms=20)
    await resumed(state, run, reply)
    following = await claim_one(state)
    assert (following.run.step, following.run.state) == (2, RunState.RUNNING)
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [m.tool_call_id for m in messages if m.role is Role.TOOL] == ["c0"]
    for _ in range(25):
        await a_moment(state)
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()


async def test_a_change_that_was_decided_on_an_older_run_writes_nothing(state: State) -> None:
    run = await with_tools(
        state, gates=dict.fromkeys(("c0", "c1"), InterruptKind.REPLY), calls=CALLS
    )
    old = await state.runs.read(TENANT, run.run_id)
    await resumed(state, run, Answered(content="1"))
    before = await payloads(state, run)
    first = old.run.pending[0].interrupt
    assert first is not None
    stale = advance(old.run, Resumed(first.interrupt_id, Answered(content="ghost")))
    with pytest.raises(VersionConflict):
        await state.runs.change(stale, version=old.version)
    assert await payloads(state, run) == before
    with pytest.raises(FailedPrecondition) as caught:
        advance((await state.runs.get(TENANT, run.run_id)), Resumed(first.interrupt_id, Denied()))
    assert caught.value.reason == "INTERRUPT_NOT_PENDING"


async def test_of_many_answers_at_once_one_counts(state: State) -> None:
    run = await with_tools(state, gates=REPLY)
    answers = (resumed(state, run, Answered(content=str(number))) for number in range(20))
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    refused = [o for o in outcomes if o is not None]
    assert all(isinstance(o, VersionConflict | FailedPrecondition) for o in refused)
    finished = [e for e in await payloads(state, run) if isinstance(e, ToolCallFinished)]
    assert len(finished) == 1


async def test_a_change_of_a_run_that_is_gone_or_anothers_is_not_found(state: State) -> None:
    run = await submitted(state)
    now = await state.runs.read(TENANT, run.run_id)
    failed = advance(now.run, Failed(RunError(reason="X", message="x")))
    theirs = advance(
        now.run.model_copy(update={"tenant": "other"}), Failed(RunError(reason="X", message="x"))
    )
    with pytest.raises(NotFound):
        await state.runs.change(theirs, version=now.version)
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.QUEUED
    await state.runs.cancel(TENANT, run.run_id)
    await state.sessions.delete(TENANT, run.session_id)
    with pytest.raises(NotFound):
        await state.runs.change(failed, version=now.version)


async def test_a_run_that_ended_is_not_changed(state: State) -> None:
    run = await submitted(state)
    await state.runs.cancel(TENANT, run.run_id)
    now = await state.runs.read(TENANT, run.run_id)
    with pytest.raises(VersionConflict):
        await state.runs.change(Transition(run=now.run), version=now.version)
    assert await state.runs.read(TENANT, run.run_id) == now


async def test_reading_gives_the_version_that_a_change_asks_for(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    assert (await state.runs.read(TENANT, run.run_id)).version == claim.version
    await state.runs.commit(claim, asks_for_tools(claim, gates=APPROVAL))
    now = await state.runs.read(TENANT, run.run_id)
    assert now.version > claim.version
    assert now.run == await state.runs.get(TENANT, run.run_id)


async def test_a_worker_whose_run_was_changed_decides_again(state: State) -> None:
    run = await with_tools(state, calls=CALLS, gates=APPROVAL)
    other = await claim_one(state, WorkKind.TOOL)
    await resumed(state, run, Denied())
    with pytest.raises(VersionConflict):
        await state.runs.commit(other, tool_result(other))
    await committed(state, other, tool_result)
    assert (await claim_one(state)).run.step == 2


async def test_a_change_that_ends_the_run_takes_the_leases_of_its_items(state: State) -> None:
    run = await with_tools(state, calls=CALLS)
    tool = await claim_one(state, WorkKind.TOOL)
    now = await state.runs.read(TENANT, run.run_id)
    failed = advance(now.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=now.version)
    with pytest.raises(StaleLease):
        await state.runs.commit(tool, tool_result(tool))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    assert (await state.sessions.get(TENANT, run.session_id)).active_run_id == ""


async def test_a_change_may_end_a_run_that_waits_behind_another(state: State) -> None:
    first = await submitted(state, "one")
    second = await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    await submitted(state, "three", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    now = await state.runs.read(TENANT, second.run_id)
    failed = advance(now.run, Failed(RunError(reason="DEADLINE", message="too late")))
    await state.runs.change(failed, version=now.version)
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    assert (await claim_one(state)).run.input == "three"
    contents = [m.content for m in await state.sessions.messages(TENANT, first.session_id)]
    assert contents == ["one", "hello", "three"]


async def test_an_interrupt_that_nobody_answers_is_claimed_to_be_expired(state: State) -> None:
    run = await with_tools(state, gates=REPLY, ttl_ms=20)
    (claim,) = await eventually(lambda: claimed(state, WorkKind.TOOL))
    assert claim.run.pending[0].interrupt is not None
    await state.runs.commit(claim, advance(claim.run, InterruptExpired(call_id(claim))))
    assert (await claim_one(state)).run.step == 2
    finished = [e for e in await payloads(state, run) if isinstance(e, ToolCallFinished)]
    assert [e.ok for e in finished] == [False]


async def test_an_answer_takes_the_lease_of_who_was_about_to_expire_it(state: State) -> None:
    run = await with_tools(state, gates=REPLY, ttl_ms=1)
    (claim,) = await eventually(lambda: claimed(state, WorkKind.TOOL))
    await resumed(state, run, Answered(content="just in time"))
    with pytest.raises(StaleLease):
        await state.runs.commit(claim, advance(claim.run, InterruptExpired(call_id(claim))))
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert messages[-1].content == "just in time"


async def test_a_call_of_unknown_outcome_waits_for_a_person_and_may_run_again(
    state: State,
) -> None:
    run = await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    await state.runs.commit(claim, advance(claim.run, ToolOutcomeUnknown("c0", "cut off", LONG_MS)))
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.INTERRUPTED
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    said = next(e for e in await payloads(state, run) if isinstance(e, Interrupted))
    assert (said.reason, said.detail) == (InterruptKind.OUTCOME_UNKNOWN, "cut off")
    await resumed(state, run, Approved())
    again = await claim_one(state, WorkKind.TOOL)
    assert (again.lease.item.key, again.lease.attempt) == (claim.lease.item.key, 1)
    await state.runs.commit(again, tool_result(again))
    await state.runs.commit(again, tool_result(again))
    assert (await claim_one(state)).run.step == 2
    assert "step_restarted" not in [e.kind for e in await payloads(state, run)]


async def test_a_session_follows_the_agent_it_was_handed_to(state: State) -> None:
    run = await with_tools(state)
    claim = await claim_one(state, WorkKind.TOOL)
    moved = advance(claim.run, ToolFinished("c0", True, "ok", 1.0, handover="expert@3"))
    await state.runs.commit(claim, moved)
    assert (await state.sessions.get(TENANT, run.session_id)).agent == "expert@3"
    following = await claim_one(state)
    assert following.run.agent == "expert@3"
    await state.runs.commit(following, answer(following))
    assert (await state.sessions.get(TENANT, run.session_id)).agent == "expert@3"
    fork = await state.sessions.fork(TENANT, run.session_id)
    assert fork.agent == "expert@3"


async def test_interrupted_is_said_once_and_left_when_the_last_answer_comes(state: State) -> None:
    run = await with_tools(
        state, calls=CALLS, gates=dict.fromkeys(("c0", "c1"), InterruptKind.REPLY)
    )
    await resumed(state, run, Answered(content="b"), number=1)
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.INTERRUPTED
    await resumed(state, run, Answered(content="a"))
    states = [e.state for e in await payloads(state, run) if isinstance(e, StateChanged)]
    assert states == [RunState.QUEUED, RunState.RUNNING, RunState.INTERRUPTED, RunState.RUNNING]
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [m.content for m in messages if m.role is Role.TOOL] == ["a", "b"]
