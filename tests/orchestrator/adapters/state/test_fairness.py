from __future__ import annotations

from collections import Counter

from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, State, TenantLoad
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    answer,
    asks_for_tools,
    claim_one,
    claimed,
    submitted,
    tool_result,
)


async def backlog(state: State, tenant: str, runs: int, *, priority: int = 0) -> None:
    for number in range(runs):
        text = f"{tenant} {priority} {number}"
        await submitted(state, text, tenant=tenant, priority=priority)


async def served(state: State, steps: int, tokens: dict[str, int]) -> Counter[str]:
    """Works that many steps, one at a time, and counts them by tenant."""
    count: Counter[str] = Counter()
    for _ in range(steps):
        claim = await claim_one(state)
        count[claim.lease.tenant] += 1
        await state.runs.commit(claim, answer(claim, tokens=tokens[claim.lease.tenant]))
    return count


async def test_tenants_share_by_tokens_and_not_by_runs(open_state: Open) -> None:
    async with open_state(Limits()) as state:
        await backlog(state, "long", 30)
        await backlog(state, "short", 30)
        count = await served(state, 30, {"long": 400, "short": 100})
        assert 22 <= count["short"] <= 26


async def test_a_heavier_tenant_is_served_more(open_state: Open) -> None:
    async with open_state(Limits(weights={"gold": 3.0})) as state:
        await backlog(state, "gold", 24)
        await backlog(state, "plain", 24)
        count = await served(state, 24, {"gold": 100, "plain": 100})
        assert 17 <= count["gold"] <= 19


async def test_a_returning_tenant_has_no_credit_for_its_absence(state: State) -> None:
    await backlog(state, "busy", 30)
    await served(state, 10, {"busy": 100})
    await backlog(state, "back", 30)
    count = await served(state, 10, {"busy": 100, "back": 100})
    assert 4 <= count["back"] <= 6


async def test_a_returning_tenant_does_not_pay_for_what_another_only_holds(state: State) -> None:
    await backlog(state, "flood", 20)
    held = await claimed(state, limit=6)
    await backlog(state, "quiet", 1)
    for claim in held:
        await state.runs.commit(claim, answer(claim, tokens=5))
    assert (await claim_one(state)).lease.tenant == "quiet"


async def test_a_tenant_runs_only_so_many_items_at_once(open_state: Open) -> None:
    async with open_state(Limits(running_items=2)) as state:
        await backlog(state, "flood", 5)
        await backlog(state, "quiet", 1)
        claims = await claimed(state, limit=9)
        assert Counter(c.lease.tenant for c in claims) == {"flood": 2, "quiet": 1}
        flood = next(c for c in claims if c.lease.tenant == "flood")
        await state.runs.commit(flood, answer(flood))
        assert [c.lease.tenant for c in await claimed(state, limit=9)] == ["flood"]


async def test_high_priority_goes_first_but_leaves_normal_a_turn(state: State) -> None:
    await backlog(state, "acme", 3)
    await backlog(state, "acme", 9, priority=1)
    order = [(await claim_one(state)).run.priority for _ in range(12)]
    assert order == [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0]


async def test_within_a_tenant_the_first_in_is_the_first_out(state: State) -> None:
    await backlog(state, "acme", 5)
    order = [(await claim_one(state)).run.input for _ in range(5)]
    assert order == [f"acme 0 {number}" for number in range(5)]


async def loads(state: State, kind: WorkKind = WorkKind.REASON) -> dict[str, TenantLoad]:
    return {load.tenant: load for load in await state.runs.loads(kind)}


async def test_loads_tell_what_each_tenant_was_served_has_queued_and_runs(
    open_state: Open,
) -> None:
    async with open_state(Limits(weights={"gold": 2.0})) as state:
        await backlog(state, "gold", 4)
        await backlog(state, "plain", 3)
        await served(state, 4, {"gold": 500, "plain": 700})
        running = await claimed(state, limit=1)
        seen = await loads(state)
        assert set(seen) == {"gold", "plain"}
        assert (seen["gold"].weight, seen["plain"].weight) == (2.0, 1.0)
        total = seen["gold"].served + seen["plain"].served
        assert total in {500.0 * gold + 700.0 * (4 - gold) for gold in range(5)}
        assert sum(load.queued for load in seen.values()) == 2
        assert {t: load.running for t, load in seen.items() if load.running} == {
            running[0].lease.tenant: 1
        }


async def test_a_tenant_that_returns_was_served_no_more_than_it_was(state: State) -> None:
    await backlog(state, "busy", 3)
    await served(state, 3, {"busy": 900})
    await backlog(state, "busy", 1, priority=1)
    await backlog(state, "back", 1)
    await served(state, 2, {"busy": 900, "back": 50})
    seen = await loads(state)
    assert (seen["busy"].served, seen["back"].served) == (3600.0, 50.0)


async def test_tools_are_counted_by_calls(state: State) -> None:
    await backlog(state, "acme", 1)
    claim = await claim_one(state)
    await state.runs.commit(claim, asks_for_tools(claim))
    for _ in range(2):
        tool = await claim_one(state, WorkKind.TOOL)
        await state.runs.commit(tool, tool_result(tool))
    assert (await loads(state, WorkKind.TOOL))["acme"].served == 2.0
    assert (await loads(state))["acme"].queued == 1
