"""Budgets of tenants and agents, with many runs at once and workers that die, over Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.runs import Run, RunState
from orchestrator.domain.usage import Totals
from orchestrator.ports.state import Limits, State
from orchestrator.redis_server import RedisServer
from tests.orchestrator.worker.given import TENANT, Fleet, Times, working
from tests.orchestrator.worker.test_sub_runs import BOSS, HELPER, Cast, ask, child_of

DATABASE = "/8"  # flushed by each test; the other databases of the server are others'
WORDS = 20
RUNS, COST = 64, 1 + 2 * WORDS  # a word of prompt, and the answer's
MODEL = ModelEntry(
    name="small",
    quality={"simple": 0.9},
    input_price=1_000_000,
    output_price=2_000_000,
    context_tokens=128,
    max_new_tokens=64,
)
CATALOGUE = {"small": MODEL}
SHORT = Times(lease_s=0.5)


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    url = redis_server.url.removesuffix("/0") + DATABASE
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


def limits(micros: int, *, agent: int | None = None) -> Limits:
    own = {} if agent is None else {"assistant": rule(agent)}
    return Limits(budgets=Budgets(tenants={TENANT: rule(micros)}, agents=own))


def rule(micros: int) -> BudgetRule:
    return BudgetRule(limit_micros=micros, period=Period.DAY)


@asynccontextmanager
async def workers(
    url: str, allowed: Limits, models: Sequence[ScriptedLanguageModel], times: Times = SHORT
) -> AsyncIterator[list[Fleet]]:
    """A worker for each model, with a connection of its own."""
    async with AsyncExitStack() as opened:
        fleets = []
        for model in models:
            state = await opened.enter_async_context(open_redis_state(url, limits=allowed))
            fleet = working(model, catalogue=CATALOGUE, state=state, times=times)
            fleets.append(await opened.enter_async_context(fleet))
        yield fleets


def answering(_: ChatRequest) -> Turn:
    return ["word " * WORDS]


def models(count: int) -> list[ScriptedLanguageModel]:
    return [ScriptedLanguageModel(answering) for _ in range(count)]


async def bill(state: State) -> Totals:
    rows = await state.ledger.by_day(TENANT, [await state.ledger.today()])
    return sum((row.totals for row in rows), Totals())


async def adds_up(state: State, runs: Sequence[Run]) -> None:
    """Runs, sessions, the day and the budget tell the same, and nothing is reserved."""
    total = await bill(state)
    assert total.cost_micros == sum(run.usage.cost_micros for run in runs)
    assert total.prompt_tokens == sum(run.usage.prompt_tokens for run in runs)
    for reading in (state.ledger.of_run, state.ledger.of_session):
        read = [
            await reading(TENANT, run.run_id if reading == state.ledger.of_run else run.session_id)
            for run in runs
        ]
        assert sum((row.totals for rows in read for row in rows), Totals()) == total
    (budget, *_) = await state.ledger.budgets(TENANT)
    assert (budget.spent_micros, budget.reserved_micros) == (total.cost_micros, 0)


@pytest.mark.parametrize(("budget", "calls"), [(10 * COST, 10), (10 * COST + 1, 11)])
async def test_64_runs_at_once_make_as_many_calls_as_the_tenants_budget_fits_and_one_more(
    redis_url: str, budget: int, calls: int
) -> None:
    asked = models(3)
    async with workers(redis_url, limits(budget), asked) as fleets:
        runs = await asyncio.gather(*(fleets[0].start("hi") for _ in range(RUNS)))
        ended = await asyncio.gather(*map(fleets[0].ended, runs))
        await adds_up(fleets[0].state, ended)
    assert sum(len(model.requests) for model in asked) == calls
    answered = [run for run in ended if run.state is RunState.COMPLETED]
    refused = [run.error.reason for run in ended if run.error]
    assert len(answered) == calls
    assert refused == ["BUDGET"] * (RUNS - calls)


@pytest.mark.parametrize(("budget", "answers"), [(10 * COST + 1, 11), (100_000, RUNS)])
async def test_what_a_killed_worker_held_is_given_back_and_the_ledger_adds_up(
    redis_url: str, budget: int, answers: int
) -> None:
    allowed, never = limits(budget), asyncio.Event()
    stuck, asked = ScriptedLanguageModel(lambda _: ["one ", never]), models(2)
    async with AsyncExitStack() as doomed:
        (first,) = await doomed.enter_async_context(workers(redis_url, allowed, [stuck]))
        runs = await asyncio.gather(*(first.start("hi") for _ in range(RUNS)))
        await first.until(lambda: has_asked(stuck))
        async with workers(redis_url, allowed, asked) as fleets:
            await doomed.aclose()  # nothing is committed or handed back
            ended = await asyncio.gather(*map(fleets[0].ended, runs))
            await adds_up(fleets[0].state, ended)
    answered = [run for run in ended if run.state is RunState.COMPLETED]
    assert len(answered) == answers == sum(len(model.requests) for model in asked)
    assert [run.error.reason for run in ended if run.error] == ["BUDGET"] * (RUNS - answers)


async def test_a_run_that_is_stopped_in_the_middle_is_billed_what_had_come(
    redis_url: str,
) -> None:
    never = asyncio.Event()
    stuck = ScriptedLanguageModel(lambda _: ["one ", never])
    async with workers(redis_url, limits(100_000), [stuck]) as (fleet,):
        run = await fleet.start("hi")
        await fleet.until(lambda: has_asked(stuck))
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
        await adds_up(fleet.state, [ended])
    assert ended.usage.cost_micros == 3


async def has_asked(model: ScriptedLanguageModel) -> bool:
    return bool(model.requests)


async def test_an_agents_budget_ends_its_runs_and_no_others(redis_url: str) -> None:
    (asked,) = models(1)
    async with workers(redis_url, limits(10_000, agent=3 * COST), [asked]) as (fleet,):
        bound = await asyncio.gather(*(fleet.start("hi") for _ in range(8)))
        free = await asyncio.gather(*(fleet.start("hi", agent="other") for _ in range(8)))
        ended = [await fleet.ended(run) for run in (*bound, *free)]
        await adds_up(fleet.state, ended)
    assert [run.state for run in ended[8:]] == [RunState.COMPLETED] * 8
    answered = [run for run in ended[:8] if run.state is RunState.COMPLETED]
    assert len(answered) == 3


async def test_runs_wait_while_all_that_is_left_is_reserved_and_then_go_on(
    redis_url: str,
) -> None:
    hangs = asyncio.Event()
    model = ScriptedLanguageModel(lambda _: [hangs, "word " * WORDS])
    allowed = Limits(budgets=Budgets(tenants={TENANT: rule(200)}))
    async with workers(redis_url, allowed, [model]) as (fleet,):
        runs = await asyncio.gather(*(fleet.start("hi") for _ in range(4)))
        await fleet.until(lambda: has_asked(model))
        waiting = [await fleet.now(run) for run in runs]
        assert [run.state for run in waiting].count(RunState.RUNNING) == 1
        hangs.set()
        ended = [await fleet.ended(run) for run in runs]
    assert [run.state for run in ended] == [RunState.COMPLETED] * 4


async def test_a_childs_calls_are_billed_once_though_its_parents_usage_includes_them(
    redis_url: str,
) -> None:
    cast = Cast(boss=[[ask("helper", "a")], ["done"]], helper=[["one"]])
    async with AsyncExitStack() as opened:
        state = await opened.enter_async_context(open_redis_state(redis_url))
        fleet = await opened.enter_async_context(working(cast, state=state))
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS)
        ended = await fleet.ended(run)
        child = await child_of(fleet, run)
        total = await bill(state)
        own = await state.ledger.of_session(TENANT, run.session_id)
        childs = await state.ledger.of_session(TENANT, child.session_id)
        helped = await state.runs.get(TENANT, child.run_id)
    assert ended.usage.cost_micros == total.cost_micros
    assert sum(row.totals.cost_micros for row in childs) == helped.usage.cost_micros > 0
    both = sum(row.totals.cost_micros for row in (*own, *childs))
    assert both == total.cost_micros


async def test_a_step_with_an_unpriced_model_is_no_cost(redis_url: str) -> None:
    free = MODEL.model_copy(update={"input_price": 0, "output_price": 0})
    async with open_redis_state(redis_url, limits=limits(1)) as state:
        async with working(answering, catalogue={"small": free}, state=state) as fleet:
            runs = [await fleet.start("hi", spec=AgentSpec()) for _ in range(3)]
            ended = [await fleet.ended(run) for run in runs]
        await adds_up(state, ended)
    assert [run.state for run in ended] == [RunState.COMPLETED] * 3
