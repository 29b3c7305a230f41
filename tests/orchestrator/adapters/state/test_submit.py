from __future__ import annotations

import pytest

from orchestrator.domain.errors import Exhausted, FailedPrecondition, NotFound
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.ports.state import LeaseState, Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    LONG_MS,
    TENANT,
    answer,
    claim_one,
    claimed,
    submitted,
)


async def test_a_request_id_stands_for_one_run_whatever_the_body(state: State) -> None:
    first = await state.runs.register(TENANT, "r1", fingerprint="a", session_id="")
    again = await state.runs.register(TENANT, "r1", fingerprint="b", session_id="")
    other = await state.runs.register("other", "r1", fingerprint="a", session_id="")
    assert (first.created, again.created) == (True, False)
    assert (again.run_id, again.session_id) == (first.run_id, first.session_id)
    assert again.fingerprint == "a"
    assert other.run_id != first.run_id


async def test_what_a_request_id_stands_for_is_known_to_its_tenant_alone(state: State) -> None:
    assert await state.runs.registered(TENANT, "r1") is None
    made = await state.runs.register(TENANT, "r1", fingerprint="a", session_id="")
    known = await state.runs.registered(TENANT, "r1")
    assert known == await state.runs.register(TENANT, "r1", fingerprint="a", session_id="")
    assert known is not None
    assert known.run_id == made.run_id
    assert await state.runs.registered("other", "r1") is None


async def test_a_run_shares_its_sessions_shard(state: State) -> None:
    session = await state.sessions.create(TENANT, agent="", labels={})
    known = await state.runs.register(TENANT, "r", fingerprint="", session_id=session.session_id)
    assert known.session_id == session.session_id
    assert known.run_id[3:7] == session.session_id[3:7]


async def test_a_new_session_is_made_in_the_shard_of_a_run_that_it_is_to_be_near(
    state: State,
) -> None:
    run = await submitted(state)
    near = await state.runs.register(
        TENANT, "child", fingerprint="", session_id="", near=run.run_id
    )
    again = await state.runs.register(
        TENANT, "child", fingerprint="", session_id="", near=run.run_id
    )
    assert near.run_id[3:7] == near.session_id[3:7] == run.run_id[3:7]
    assert near.session_id != run.session_id
    assert (again.run_id, again.session_id) == (near.run_id, near.session_id)


async def test_an_accepted_run_makes_its_session_and_waits_in_it(state: State) -> None:
    run = await submitted(state)
    got = await state.runs.get(TENANT, run.run_id)
    assert got.state is RunState.QUEUED
    assert got.created_ms == got.updated_ms > 0
    session = await state.sessions.get(TENANT, run.session_id)
    assert session.active_run_id == run.run_id
    assert (session.agent, session.labels) == ("assistant", {"k": "v"})
    messages = await state.sessions.messages(TENANT, run.session_id)
    assert [m.content for m in messages] == ["hi"]


async def test_submitting_again_changes_nothing(state: State) -> None:
    run = await submitted(state)
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    assert not await state.runs.submit(advance(run, Submitted()), session_labels={})
    assert (await state.runs.get(TENANT, run.run_id)).state is RunState.COMPLETED
    assert len(await state.sessions.messages(TENANT, run.session_id)) == 2
    assert await claimed(state) == ()


async def test_a_session_that_nobody_made_is_not_found(state: State) -> None:
    with pytest.raises(NotFound):
        await submitted(state, session_id="ses_00_0000000000000000zz")
    assert await claimed(state) == ()


async def test_a_busy_session_rejects_and_the_same_request_may_try_again(state: State) -> None:
    active = await submitted(state, "one")
    with pytest.raises(FailedPrecondition) as caught:
        await submitted(state, "two", session_id=active.session_id)
    assert caught.value.reason == "SESSION_BUSY"
    assert caught.value.metadata == {"active_run_id": active.run_id}
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    second = await submitted(state, "two", session_id=active.session_id)
    assert (await claim_one(state)).run.run_id == second.run_id


async def test_waiting_runs_start_one_after_the_other(state: State) -> None:
    first = await submitted(state, "one")
    for text in ("two", "three"):
        await submitted(state, text, session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
    for text in ("one", "two", "three"):
        (claim,) = await claimed(state, limit=9)
        assert claim.run.input == text
        await state.runs.commit(claim, answer(claim, text.upper()))
    messages = await state.sessions.messages(TENANT, first.session_id)
    assert [m.content for m in messages] == ["one", "ONE", "two", "TWO", "three", "THREE"]
    assert (await state.sessions.get(TENANT, first.session_id)).active_run_id == ""


async def test_an_interrupting_run_ends_one_that_nobody_works_on(state: State) -> None:
    first = await submitted(state, "one")
    second = await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.INTERRUPT)
    assert (await state.runs.get(TENANT, first.run_id)).state is RunState.CANCELLED
    (claim,) = await claimed(state, limit=9)
    assert claim.run.run_id == second.run_id


async def test_an_interrupting_run_tells_the_worker_of_the_active_one(state: State) -> None:
    first = await submitted(state, "one")
    claim = await claim_one(state)
    await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.INTERRUPT)
    assert await state.runs.extend([claim.lease], lease_ms=LONG_MS) == (
        LeaseState.CANCEL_REQUESTED,
    )
    await state.runs.commit(claim, answer(claim))
    assert (await claim_one(state)).run.input == "two"


async def test_a_full_queue_says_when_to_come_back(open_state: Open) -> None:
    async with open_state(Limits(live_runs=2)) as state:
        first = await submitted(state, "one", request_id="a")
        await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
        with pytest.raises(Exhausted) as caught:
            await submitted(state, "three", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
        assert caught.value.reason == "QUEUE_FULL"
        assert caught.value.retry_after_s
        claim = await claim_one(state)
        await state.runs.commit(claim, answer(claim))
        await submitted(state, "three", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)


async def test_only_so_many_runs_wait_in_a_session(open_state: Open) -> None:
    async with open_state(Limits(waiting_runs=1)) as state:
        first = await submitted(state, "one")
        await submitted(state, "two", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)
        with pytest.raises(Exhausted):
            await submitted(state, "three", session_id=first.session_id, policy=BusyPolicy.ENQUEUE)


async def test_runs_are_listed_newest_first_of_a_session_or_of_the_tenant(
    state: State,
) -> None:
    session_id = ""
    for text in ("one", "two", "three"):
        run = await submitted(state, text, session_id=session_id, policy=BusyPolicy.ENQUEUE)
        session_id = run.session_id
    await submitted(state, "elsewhere")
    await submitted(state, "theirs", tenant="other")
    first = await state.runs.list(TENANT, session_id=session_id, limit=2, token="")
    rest = await state.runs.list(TENANT, session_id=session_id, limit=2, token=first.next_token)
    assert [r.input for r in (*first.items, *rest.items)] == ["three", "two", "one"]
    every = await state.runs.list(TENANT, session_id="", limit=9, token="")
    assert [r.input for r in every.items] == ["elsewhere", "three", "two", "one"]
    assert every.next_token == ""
