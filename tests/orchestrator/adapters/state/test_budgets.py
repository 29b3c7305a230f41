"""Budgets: what a claim reserves, what bars it, what gives a reservation back."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.errors import Exhausted
from orchestrator.domain.work import Claim
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state.conftest import Open
from tests.orchestrator.adapters.state.given import (
    TENANT,
    answer,
    called,
    cancelled,
    claimed,
    eventually,
    submitted,
)

_numbers = itertools.count()


def limits(micros: int, *, agent: int | None = None, period: Period = Period.TOTAL) -> Limits:
    own = {} if agent is None else {"assistant": BudgetRule(limit_micros=agent, period=period)}
    tenants = {TENANT: BudgetRule(limit_micros=micros, period=period)}
    return Limits(budgets=Budgets(tenants=tenants, agents=own))


async def begun(state: State, runs: int, micros: int, *, lease_ms: int = 60_000) -> list[Claim]:
    """Submits runs and claims what may be."""
    for _ in range(runs):
        await submitted(state, f"b{next(_numbers)}")
    return list(await claimed(state, limit=runs, reserve_micros=micros, lease_ms=lease_ms))


async def held(state: State, tenant: str = TENANT) -> tuple[int, int]:
    (budget, *_) = await state.ledger.budgets(tenant)
    return budget.spent_micros, budget.reserved_micros


@pytest.mark.parametrize(("micros", "fit"), [(30, 3), (50, 2), (51, 1), (10**6, 1), (0, 5)])
async def test_as_many_are_begun_as_fit_and_one_where_none_does(
    open_state: Open, micros: int, fit: int
) -> None:
    async with open_state(limits(100)) as state:
        claims = await begun(state, 5, micros)
        assert (len(claims), await held(state)) == (fit, (0, fit * micros))


async def test_what_a_step_took_less_than_it_reserved_is_there_for_others(open_state: Open) -> None:
    async with open_state(limits(100)) as state:
        first, _ = await begun(state, 4, 50)
        assert await claimed(state, reserve_micros=50) == ()
        await state.runs.commit(first, answer(first, tokens=20))
        assert await held(state) == (20, 50)
        assert await claimed(state, reserve_micros=50) == ()  # 20 and 50 are gone


async def test_waiting_for_a_reservation_is_no_attempt(open_state: Open) -> None:
    async with open_state(limits(100)) as state:
        (first,) = await begun(state, 2, 80)
        for _ in range(3):
            assert await claimed(state, reserve_micros=80) == ()
        await state.runs.commit(first, answer(first, tokens=10))
        (second,) = await claimed(state, reserve_micros=80)
    assert (second.lease.attempt, second.over_budget) == (1, "")


async def test_a_spent_budget_comes_with_the_claim_and_reserves_nothing(open_state: Open) -> None:
    async with open_state(limits(100, period=Period.MONTH)) as state:
        (first,) = await begun(state, 1, 80)
        await state.runs.commit(first, answer(first, tokens=120))
        (over,) = await begun(state, 1, 80)
        assert await held(state) == (120, 0)
    assert over.over_budget == f"the budget of tenant {TENANT} of 100 micros a month is spent"


@pytest.mark.parametrize("how", ["release", "cancel", "reap", "refused"])
async def test_whatever_ends_a_lease_gives_its_reservation_back(open_state: Open, how: str) -> None:
    async with open_state(limits(100)) as state:
        (claim,) = await begun(state, 1, 70, lease_ms=0 if how == "reap" else 60_000)
        assert await held(state) == (0, 70)
        if how == "release":
            await state.runs.release(claim.lease, delay_ms=1_000)
        elif how == "reap":
            await eventually(lambda: state.runs.reap(limit=9))
        elif how == "cancel":
            await cancelled(state, claim.run)
            await state.runs.release(claim.lease)
        else:
            await state.runs.commit(claim, answer(claim, tokens=0))
        assert await held(state) == (0, 0)


async def test_an_agents_budget_puts_its_items_off_and_no_others(open_state: Open) -> None:
    async with open_state(limits(1_000, agent=100)) as state:
        (first,) = await begun(state, 3, 80)
        assert first.lease.attempt == 1
        reserved = await state.ledger.reserve(TENANT, "other", 500)
        await state.ledger.settle(reserved, [])
        await state.runs.commit(first, answer(first, tokens=10))
        (second,) = await eventually(lambda: claimed(state, limit=2, reserve_micros=80))
        assert second.lease.attempt == 1


async def test_other_tenants_are_served_while_one_waits_for_its_budget(open_state: Open) -> None:
    async with open_state(limits(100)) as state:
        await begun(state, 4, 80)
        await submitted(state, "free", tenant="other")
        (free,) = await claimed(state, limit=4, reserve_micros=80)
    assert free.lease.tenant == "other"


async def test_a_reservation_of_calls_outside_of_runs_bars_and_frees_runs(
    open_state: Open,
) -> None:
    async with open_state(limits(100)) as state:
        reservation = await state.ledger.reserve(TENANT, "", 90)
        assert await begun(state, 1, 50) == []
        await state.ledger.settle(reservation, [called(30)])
        await state.ledger.settle(reservation, [called(30)])  # a repetition
        (claim,) = await claimed(state, reserve_micros=50)
        assert await held(state) == (30, 50)
        with pytest.raises(Exhausted, match="reserved for calls in hand") as refused:
            await state.ledger.reserve(TENANT, "", 50)
        await state.runs.commit(claim, answer(claim, tokens=100))
        with pytest.raises(Exhausted, match="is spent") as over:
            await state.ledger.reserve(TENANT, "", 1)
    assert refused.value.retry_after_s
    assert over.value.retry_after_s is None


async def test_a_reservation_whose_holder_died_expires_and_is_booked_if_it_did_not(
    open_state: Open,
) -> None:
    async with open_state(limits(100)) as state:
        reservation = await state.ledger.reserve(TENANT, "", 90, ttl_s=0.001)
        assert await begun(state, 1, 50) == []

        async def freed() -> bool:
            await state.runs.reap(limit=9)
            return (await held(state))[1] == 0

        await eventually(freed)
        assert len(await claimed(state, reserve_micros=50)) == 1
        await state.ledger.settle(reservation, [called(7)])
        assert await held(state) == (7, 50)


async def test_a_new_day_and_a_new_month_begin_with_nothing_spent() -> None:
    now = [_ms(2026, 1, 30)]
    by_day, by_month = limits(100, period=Period.DAY), limits(100, period=Period.MONTH)
    for allowed, following in ((by_day, _ms(2026, 1, 31)), (by_month, _ms(2026, 2, 1))):
        now[0] = _ms(2026, 1, 30)
        async with open_memory_state(limits=allowed, now_ms=lambda: now[0]) as state:
            (claim,) = await begun(state, 1, 0)
            await state.runs.commit(claim, answer(claim, tokens=100))
            assert await held(state) == (100, 0)
            now[0] = following
            assert await held(state) == (0, 0)
            (claim,) = await begun(state, 1, 0)
            assert not claim.over_budget


def _ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("period", [Period.DAY, Period.MONTH, Period.TOTAL])
async def test_redis_counts_a_period_that_is_over_no_more(redis_url: str, period: Period) -> None:
    async with open_redis_state(redis_url, limits=limits(100, period=period)) as state:
        (claim,) = await begun(state, 1, 0)
        await state.runs.commit(claim, answer(claim, tokens=100))
        async with Redis.from_url(redis_url) as admin:
            on = f"on\0{TENANT}\0"
            await admin.hset("fleet:{s00}:spend", on, "2020-12-31")  # type: ignore[misc]
        ended = period is not Period.TOTAL
        assert (await held(state))[0] == (0 if ended else 100)
        (claim,) = await begun(state, 1, 0)
        assert bool(claim.over_budget) != ended
        await state.runs.commit(claim, answer(claim, tokens=7))
        assert (await held(state))[0] == (7 if ended else 107)


@pytest.mark.parametrize("broken", ["a field", "the key"])
async def test_a_budget_that_cant_be_read_allows_nothing(redis_url: str, broken: str) -> None:
    async with open_redis_state(redis_url, limits=limits(100)) as state:
        async with Redis.from_url(redis_url) as admin:
            if broken == "a field":
                await admin.hset("fleet:{s00}:spend", f"total\0{TENANT}\0", "much")  # type: ignore[misc]
            else:
                await admin.set("fleet:{s00}:spend", "nothing")
        (claim,) = await begun(state, 1, 1)
        with pytest.raises(Exhausted, match="can't be read"):
            await state.ledger.reserve(TENANT, "", 1)
        await state.runs.commit(claim, answer(claim, tokens=5))  # which is booked all the same
        (row,) = await state.ledger.of_run(TENANT, claim.run.run_id)
        assert row.totals.cost_micros == 5
    assert "can't be read" in claim.over_budget


async def test_a_sum_that_is_too_large_allows_nothing_more(redis_url: str) -> None:
    async with open_redis_state(redis_url, limits=limits(2**53 - 1)) as state:
        async with Redis.from_url(redis_url) as admin:
            for period in ("day", "month", "total"):
                field = f"{period}\0{TENANT}\0"
                await admin.hset("fleet:{s00}:spend", field, str(2**63 - 5))  # type: ignore[misc]
            await admin.hset("fleet:{s00}:spend", f"on\0{TENANT}\0", "9999-12-31")  # type: ignore[misc]
        reservation = await state.ledger.reserve("other", "", 1)
        await state.ledger.settle(type(reservation)(reservation.token, TENANT, ""), [called(9)])
        assert (await held(state))[0] == 2**63 - 1
        (claim,) = await begun(state, 1, 1)
    assert claim.over_budget


@pytest.mark.parametrize("shards", [1, 3, 16])
async def test_the_shards_parts_of_a_budget_add_up_to_it(redis_url: str, shards: int) -> None:
    async with open_redis_state(redis_url, shards=shards, limits=limits(10)) as state:
        taken = 0
        while True:
            try:
                reservation = await state.ledger.reserve(TENANT, "", 1)
            except Exhausted:
                break
            await state.ledger.settle(reservation, [called(1)])
            taken += 1
        assert (taken, await held(state)) == (10, (10, 0))


async def test_a_wrong_clock_of_ours_books_on_the_servers_day(redis_url: str) -> None:
    async with open_redis_state(redis_url, limits=limits(100)) as state:
        (claim,) = await begun(state, 1, 0)
        clock = state.ledger._db.clock  # type: ignore[attr-defined]
        clock.ahead_ms = 10 * 86_400_000
        await state.runs.commit(claim, answer(claim, tokens=5))
        clock.ahead_ms = -10 * 86_400_000
        await state.ledger.settle(await state.ledger.reserve(TENANT, "", 1), [called(6)])
        rows = await state.ledger.by_day(TENANT, [await state.ledger.today()])
    assert sum(row.totals.cost_micros for row in rows) == 11
