from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.errors import NotFound, StaleLease, VersionConflict
from orchestrator.domain.events import StateChanged, StepRestarted, TextDelta
from orchestrator.domain.messages import Role, ToolCall
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.domain.snapshot import Progress, fold
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import LeaseState, Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    CALLS,
    LONG_MS,
    TENANT,
    answer,
    asks_for_tools,
    claim_one,
    claimed,
    failure,
    submitted,
    tool_result,
)


async def events_of(state: State, run_id: str) -> list[object]:
    events = await state.feed.read(TENANT, run_id, after_seq=0, limit=100)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    return [e.payload for e in events]


async def test_the_first_claim_makes_a_run_running_and_says_so(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    assert claim.run.state is RunState.RUNNING
    assert (claim.lease.item.step, claim.lease.attempt, claim.lease.tenant) == (1, 1, TENANT)
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.RUNNING
    assert await events_of(state, run.run_id) == [
        StateChanged(state=RunState.QUEUED),
        StateChanged(state=RunState.RUNNING),
    ]
    assert await claimed(state) == ()


async def test_a_commit_writes_run_messages_events_and_step(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.emit(claim.lease, [TextDelta(text="hel"), TextDelta(text="lo")])
    await state.runs.commit(claim, answer(claim))
    got = await state.runs.get(TENANT, run.run_id)
    assert (got.state, got.result) == (RunState.COMPLETED, "hello")
    assert got.finished_ms == got.updated_ms >= got.created_ms
    assert [s.model for s in await state.runs.steps(TENANT, run.run_id)] == ["llm_small"]
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [(m.role, m.content) for m in messages] == [
        (Role.USER, "hi"),
        (Role.ASSISTANT, "hello"),
    ]
    kinds = [e.kind for e in await events_of(state, run.run_id)]  # type: ignore[attr-defined]
    assert kinds == ["state_changed", "state_changed", "text_delta", "text_delta", "finished"]


async def test_a_commit_counts_once_and_for_its_own_lease_only(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    await state.runs.commit(claim, answer(claim))
    assert len(await state.sessions.messages(TENANT, run.session_id)) == 2
    other = claim.model_copy(
        update={"lease": claim.lease.model_copy(update={"nonce": "somebody else's"})}
    )
    with pytest.raises(StaleLease):
        await state.runs.commit(other, answer(other))


async def test_tools_run_in_parallel_and_join_into_the_next_step(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.commit(claim, asks_for_tools(claim))
    assert await claimed(state) == ()
    tools = await claimed(state, WorkKind.TOOL, limit=9)
    assert [c.lease.item.call for c in tools] == list(CALLS)
    await state.runs.commit(tools[1], tool_result(tools[1], "order"))
    with pytest.raises(VersionConflict):
        await state.runs.commit(tools[0], tool_result(tools[0], "2"))
    fresh = await state.runs.refresh(tools[0])
    await state.runs.commit(fresh, tool_result(fresh, "2"))
    following = await claim_one(state)
    assert (following.run.step, following.run.state) == (2, RunState.RUNNING)
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [m.content for m in messages if m.role is Role.TOOL] == ["2", "order"]
    assert following.run.usage.tool_calls == 2


async def test_an_expired_lease_is_lost_and_the_step_starts_again(state: State) -> None:
    run = await submitted(state)
    lost = await claim_one(state, lease_ms=0)
    assert await state.runs.reap(limit=10) == 1
    again = await claim_one(state)
    assert again.lease.attempt == 2
    assert await state.runs.extend([lost.lease, again.lease], lease_ms=LONG_MS) == (
        LeaseState.LOST,
        LeaseState.HELD,
    )
    with pytest.raises(StaleLease):
        await state.runs.emit(lost.lease, [TextDelta(text="ghost")])
    with pytest.raises(StaleLease):
        await state.runs.commit(lost, answer(lost, "ghost"))
    await state.runs.commit(again, answer(again))
    events = await events_of(state, run.run_id)
    assert isinstance(events[2], StepRestarted)
    assert TextDelta(text="ghost") not in events


async def test_a_tool_call_that_runs_again_leaves_the_steps_text_as_it_was(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.emit(claim.lease, [TextDelta(text="I will look.")])
    await state.runs.commit(claim, asks_for_tools(claim, CALLS[:1]))
    failed = await claim_one(state, WorkKind.TOOL)
    await state.runs.release(failed.lease)
    await claim_one(state, WorkKind.TOOL, lease_ms=0)
    assert await state.runs.reap(limit=10) == 1
    assert (await claim_one(state, WorkKind.TOOL)).lease.attempt == 3
    events = await state.feed.read(TENANT, run.run_id, after_seq=0, limit=100)
    assert not any(isinstance(event.payload, StepRestarted) for event in events)
    assert fold(Progress(), events).text == "I will look."


async def test_a_prolonged_lease_is_not_reaped(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state, lease_ms=0)
    await state.runs.extend([claim.lease], lease_ms=LONG_MS)
    assert await state.runs.reap(limit=10) == 0
    await state.runs.commit(claim, answer(claim))
    assert (await state.runs.get(TENANT, claim.run.run_id)).state is RunState.COMPLETED


async def test_a_run_out_of_attempts_fails_with_the_reason(open_state: Open) -> None:
    async with open_state(Limits(max_attempts=2)) as state:
        run = await submitted(state)
        await submitted(state, "next", session_id=run.session_id, policy=BusyPolicy.ENQUEUE)
        for _ in range(2):
            await claim_one(state, lease_ms=0)
            assert await state.runs.reap(limit=10) == 1
        got = await state.runs.get(TENANT, run.run_id)
        assert got.state is RunState.FAILED
        assert got.error is not None
        assert got.error.reason == "ATTEMPTS_EXHAUSTED"
        assert (await claim_one(state)).run.input == "next"
        assert await state.runs.reap(limit=10) == 0


async def test_a_run_that_ends_takes_its_open_items_along(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state)
    await state.runs.commit(claim, asks_for_tools(claim, (*CALLS, *_more_calls())))
    first, second = await claimed(state, WorkKind.TOOL, limit=2)
    await state.runs.commit(first, failure(first))
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    with pytest.raises(StaleLease):
        await state.runs.commit(second, tool_result(second))
    assert await state.runs.extend([second.lease], lease_ms=1) == (LeaseState.LOST,)


def _more_calls() -> tuple[ToolCall, ...]:
    return tuple(call.model_copy(update={"call_id": call.call_id + "x"}) for call in CALLS)


async def test_another_tenants_run_is_not_found_by_any_call(state: State) -> None:
    run = await submitted(state)
    for call in (
        state.runs.get("other", run.run_id),
        state.runs.read("other", run.run_id),
        state.runs.steps("other", run.run_id),
        state.runs.cancel("other", run.run_id),
        state.feed.read("other", run.run_id, after_seq=0, limit=1),
    ):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        await anext(state.feed.follow("other", run.run_id, after_seq=0))


async def test_waiting_for_work_ends_when_work_comes(state: State) -> None:
    assert await claimed(state) == ()
    waiting = asyncio.ensure_future(state.runs.wait_for_work(WorkKind.REASON, timeout_s=30))
    await submitted(state)
    async with asyncio.timeout(10):
        await waiting
    assert len(await claimed(state)) == 1


async def test_waiting_for_work_gives_up_in_time(state: State) -> None:
    await submitted(state)  # work of another kind
    assert await claimed(state, WorkKind.TOOL) == ()
    waiting = asyncio.ensure_future(state.runs.wait_for_work(WorkKind.TOOL, timeout_s=0.01))
    done, _ = await asyncio.wait({waiting}, timeout=10)
    assert done == {waiting}
    assert await claimed(state, WorkKind.TOOL) == ()
