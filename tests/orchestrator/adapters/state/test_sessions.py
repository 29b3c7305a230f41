from __future__ import annotations

import pytest

from orchestrator.domain.errors import FailedPrecondition, InvalidInput, NotFound
from orchestrator.domain.messages import Role
from orchestrator.ports.state import State
from tests.orchestrator.adapters.state.given import (
    TENANT,
    answer,
    asks_for_tools,
    claim_one,
    submitted,
)


async def conversation(state: State, turns: int = 1) -> str:
    """A session of that many finished runs."""
    session_id = ""
    for turn in range(turns):
        run = await submitted(state, f"q{turn}", session_id=session_id)
        session_id = run.session_id
        claim = await claim_one(state)
        await state.runs.commit(claim, answer(claim, f"a{turn}"))
    return session_id


async def test_a_session_is_what_it_was_made_with(state: State) -> None:
    made = await state.sessions.create(TENANT, agent="helper", labels={"team": "a"})
    got = await state.sessions.get(TENANT, made.session_id)
    assert got == made
    assert (got.agent, got.labels, got.message_count) == ("helper", {"team": "a"}, 0)
    assert got.created_ms == got.updated_ms > 0


async def test_another_tenants_session_is_not_found_by_any_call(state: State) -> None:
    made = await state.sessions.create(TENANT, agent="", labels={})
    for call in (
        state.sessions.get("other", made.session_id),
        state.sessions.messages("other", made.session_id),
        state.sessions.fork("other", made.session_id),
        state.sessions.delete("other", made.session_id),
        state.runs.list("other", session_id=made.session_id, limit=1, token=""),
        submitted(state, tenant="other", session_id=made.session_id),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await state.sessions.list("other", limit=9, token="")).items == ()


async def test_what_is_no_session_id_is_refused_with_its_field(state: State) -> None:
    with pytest.raises(InvalidInput) as caught:
        await state.sessions.get(TENANT, "mine")
    assert caught.value.field == "session_id"


async def test_sessions_are_listed_newest_first_in_pages(state: State) -> None:
    made = [await state.sessions.create(TENANT, agent=str(i), labels={}) for i in range(5)]
    seen, token = [], ""
    while True:
        page = await state.sessions.list(TENANT, limit=2, token=token)
        seen += [s.agent for s in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == [s.agent for s in reversed(made)]


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (0, None, ["q0", "a0", "q1", "a1"]),
        (1, 2, ["a0", "q1"]),
        (-3, None, ["a0", "q1", "a1"]),
        (-3, 2, ["a0", "q1"]),
        (-1, 5, ["a1"]),
        (-9, 2, ["q0", "a0"]),
        (4, None, []),
        (0, 0, []),
    ],
)
async def test_messages_are_read_from_either_end(
    state: State, start: int, limit: int | None, expected: list[str]
) -> None:
    session_id = await conversation(state, turns=2)
    got = await state.sessions.messages(TENANT, session_id, start=start, limit=limit)
    assert [m.content for m in got] == expected


async def test_a_fork_has_the_messages_so_far_and_goes_its_own_way(state: State) -> None:
    session_id = await conversation(state)
    fork = await state.sessions.fork(TENANT, session_id)
    assert fork.session_id != session_id
    assert fork.message_count == 2
    await submitted(state, "more", session_id=fork.session_id)
    assert len(await state.sessions.messages(TENANT, session_id)) == 2
    assert len(await state.sessions.messages(TENANT, fork.session_id)) == 3


async def test_a_fork_leaves_out_the_turn_that_is_not_finished(state: State) -> None:
    session_id = await conversation(state)
    await submitted(state, "open", session_id=session_id)
    claim = await claim_one(state)
    await state.runs.commit(claim, asks_for_tools(claim))
    fork = await state.sessions.fork(TENANT, session_id)
    messages = await state.sessions.messages(TENANT, fork.session_id)
    assert [m.role for m in messages] == [Role.USER, Role.ASSISTANT]
    assert fork.active_run_id == ""


async def test_deleting_takes_messages_runs_and_events_along(state: State) -> None:
    session_id = await conversation(state, turns=2)
    runs = (await state.runs.list(TENANT, session_id=session_id, limit=9, token="")).items
    await state.sessions.delete(TENANT, session_id)
    with pytest.raises(NotFound):
        await state.sessions.get(TENANT, session_id)
    for run in runs:
        with pytest.raises(NotFound):
            await state.runs.get(TENANT, run.run_id)
        with pytest.raises(NotFound):
            await state.feed.read(TENANT, run.run_id, after_seq=0, limit=1)
    assert (await state.sessions.list(TENANT, limit=9, token="")).items == ()
    assert (await state.runs.list(TENANT, session_id="", limit=9, token="")).items == ()


async def test_a_session_with_an_active_run_is_not_deleted(state: State) -> None:
    run = await submitted(state)
    with pytest.raises(FailedPrecondition) as caught:
        await state.sessions.delete(TENANT, run.session_id)
    assert caught.value.reason == "SESSION_BUSY"
    assert (await state.runs.get(TENANT, run.run_id)).run_id == run.run_id


async def test_a_request_repeated_after_its_session_was_deleted_does_not_run_again(
    state: State,
) -> None:
    run = await submitted(state, "once", request_id="r1")
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    await state.sessions.delete(TENANT, run.session_id)
    with pytest.raises(NotFound):
        await submitted(state, "once", request_id="r1")
