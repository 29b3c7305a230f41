"""What failed because it was tried in vain."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import InvalidInput, NotFound
from orchestrator.domain.machine import Failed, advance
from orchestrator.domain.runs import Run, RunError
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    CALLS,
    TENANT,
    claim_one,
    claimed,
    failure,
    submitted,
    with_tools,
)


async def letters(state: State, tenant: str = TENANT) -> list[str]:
    """The run ids of all entries."""
    page = await state.dead_letters.list(tenant, limit=99, token="")
    return [entry.run_id for entry in page.items]


async def buried(state: State, text: str, tenant: str = TENANT) -> Run:
    """A run that failed with a dead letter."""
    run = await submitted(state, text, tenant=tenant)
    claim = await claim_one(state)
    error = RunError(reason="MODEL_UNAVAILABLE", message=f"{text} was in vain")
    await state.runs.commit(claim, advance(claim.run, Failed(error, dead_letter=True)))
    return run


async def test_a_failure_that_asks_for_it_leaves_an_entry_that_says_everything(
    state: State,
) -> None:
    run = await with_tools(state, calls=CALLS)
    (claim,) = await state.runs.claim(WorkKind.TOOL, worker="box-1", limit=1, lease_ms=60_000)
    error = RunError(reason="TOOL_UNAVAILABLE", message="the breaker is open")
    moved = advance(claim.run, Failed(error, dead_letter=True))
    await state.runs.commit(claim, moved)
    await state.runs.commit(claim, moved)
    (entry,) = (await state.dead_letters.list(TENANT, limit=9, token="")).items
    assert (entry.tenant, entry.run_id, entry.session_id) == (TENANT, run.run_id, run.session_id)
    assert (entry.agent, entry.item_key) == (run.agent, claim.lease.item.key)
    assert (entry.step, entry.attempts, entry.worker) == (1, 1, "box-1")
    assert (entry.reason, entry.message) == ("TOOL_UNAVAILABLE", "the breaker is open")
    assert entry.time_ms >= claim.now_ms
    assert await state.dead_letters.get(TENANT, entry.entry_id) == entry


async def test_a_failure_that_does_not_ask_leaves_none(state: State) -> None:
    await submitted(state)
    claim = await claim_one(state)
    await state.runs.commit(claim, failure(claim))
    assert await letters(state) == []


async def test_a_run_out_of_attempts_leaves_an_entry_with_its_last_worker(
    open_state: Open,
) -> None:
    async with open_state(Limits(max_attempts=2)) as state:
        run = await submitted(state)
        for worker in ("first", "second"):
            await state.runs.claim(WorkKind.REASON, worker=worker, limit=1, lease_ms=0)
            await state.runs.reap(limit=9)
        (entry,) = (await state.dead_letters.list(TENANT, limit=9, token="")).items
        assert (entry.run_id, entry.item_key) == (run.run_id, f"{run.run_id}:1")
        assert (entry.reason, entry.attempts) == ("ATTEMPTS_EXHAUSTED", 2)
        assert entry.worker == "second"
        await state.runs.reap(limit=9)
        assert len(await letters(state)) == 1


async def test_a_change_from_outside_may_leave_an_entry_too(state: State) -> None:
    run = await submitted(state)
    now = await state.runs.read(TENANT, run.run_id)
    error = RunError(reason="DEADLINE", message="too late")
    await state.runs.change(advance(now.run, Failed(error, dead_letter=True)), version=now.version)
    (entry,) = (await state.dead_letters.list(TENANT, limit=9, token="")).items
    assert (entry.run_id, entry.reason, entry.attempts) == (run.run_id, "DEADLINE", 0)


async def test_entries_are_listed_newest_first_in_pages(state: State) -> None:
    runs = [await buried(state, str(number)) for number in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await state.dead_letters.list(TENANT, limit=2, token=token)
        assert len(page.items) <= 2
        seen += [entry.run_id for entry in page.items]
        if not (token := page.next_token):
            break
    assert seen == [run.run_id for run in reversed(runs)]
    with pytest.raises(InvalidInput):
        await state.dead_letters.list("other", limit=2, token="nonsense")


async def test_only_the_newest_entries_are_kept(open_state: Open) -> None:
    async with open_state(Limits(dead_letters=3)) as state:
        runs = [await buried(state, str(number)) for number in range(6)]
        kept = await letters(state)
        assert kept == [run.run_id for run in reversed(runs)][: len(kept)]
        assert len(kept) == 3


async def test_a_flood_of_entries_pushes_out_no_other_tenants(open_state: Open) -> None:
    async with open_state(Limits(dead_letters=3)) as state:
        mine = await buried(state, "mine")
        for number in range(6):
            await buried(state, f"flood {number}", tenant="flood")
        assert await letters(state) == [mine.run_id]


async def test_removing_entries_says_how_many_there_were(state: State) -> None:
    runs = [await buried(state, str(number)) for number in range(3)]
    page = await state.dead_letters.list(TENANT, limit=9, token="")
    ids = [entry.entry_id for entry in page.items]
    assert await state.dead_letters.remove(TENANT, ids[:2]) == 2
    assert await state.dead_letters.remove(TENANT, [*ids[:2], "nonsense", ""]) == 0
    assert await state.dead_letters.remove(TENANT, []) == 0
    assert await letters(state) == [runs[0].run_id]
    with pytest.raises(NotFound):
        await state.dead_letters.get(TENANT, ids[0])


async def test_another_tenant_sees_and_removes_nothing(state: State) -> None:
    run = await buried(state, "mine")
    (entry,) = (await state.dead_letters.list(TENANT, limit=9, token="")).items
    assert await letters(state, "other") == []
    with pytest.raises(NotFound):
        await state.dead_letters.get("other", entry.entry_id)
    assert await state.dead_letters.remove("other", [entry.entry_id]) == 0
    assert await letters(state) == [run.run_id]


async def test_what_is_no_entry_id_is_not_found(state: State) -> None:
    for nonsense in ("", "nonsense", "0-0", "00_0-0", "\0", "9" * 400):
        with pytest.raises(NotFound):
            await state.dead_letters.get(TENANT, nonsense)


async def test_an_entry_outlives_its_run(state: State) -> None:
    run = await buried(state, "gone")
    await state.sessions.delete(TENANT, run.session_id)
    assert await letters(state) == [run.run_id]
    assert await claimed(state) == ()
