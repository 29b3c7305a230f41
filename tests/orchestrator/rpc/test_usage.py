"""UsageService: sums by day, agent and model, of a session, of a run; budgets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis

from orchestrator.adapters.authenticators import ApiKeyAuthenticator
from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.runs import ModelCall, Run, Usage
from orchestrator.ports.state import Limits
from orchestrator.rpc.pb.fleet.v1 import inference_pb2, sessions_pb2, usage_pb2
from tests.orchestrator.adapters.state.given import answer, claim_one, submitted
from tests.orchestrator.rpc.given import Fleet, refusal, serving

By = usage_pb2.GetUsageRequest
TENANT = "default"
LIMITS = Limits(
    budgets=Budgets(
        default=BudgetRule(limit_micros=4_000, period=Period.MONTH),
        agents={
            "assistant": BudgetRule(limit_micros=10, period=Period.DAY),
            "default/writer": BudgetRule(limit_micros=2, period=Period.TOTAL),
            "other/writer": BudgetRule(limit_micros=3, period=Period.TOTAL),
        },
    )
)


@pytest.fixture
async def bounded(redis_url: str | None) -> AsyncIterator[Fleet]:
    """With budgets."""
    if redis_url is not None:
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
    opened = (
        open_redis_state(redis_url, shards=4, limits=LIMITS)
        if redis_url
        else open_memory_state(limits=LIMITS)
    )
    async with serving(opened) as running:
        yield running


async def called(
    fleet: Fleet, agent: str, model: str, tokens: int, *, tenant: str = TENANT
) -> None:
    usage = Usage(prompt_tokens=tokens, completion_tokens=1, cost_micros=2 * tokens)
    reservation = await fleet.state.ledger.reserve(tenant, "", 0)
    reservation = type(reservation)(reservation.token, tenant, agent)
    await fleet.state.ledger.settle(reservation, [ModelCall(model=model, usage=usage)])


async def usage(fleet: Fleet, **fields: Any) -> usage_pb2.GetUsageResponse:
    return await fleet.usage.GetUsage(usage_pb2.GetUsageRequest(**fields))


def costs(answer: usage_pb2.GetUsageResponse) -> list[tuple[str, str, int]]:
    return [(row.agent, row.model, row.cost_micros) for row in answer.rows]


async def test_nothing_used_has_no_rows_and_no_total(fleet: Fleet) -> None:
    told = await usage(fleet)
    assert (list(told.rows), told.total) == ([], usage_pb2.UsageRow())


async def test_usage_is_summed_by_what_it_is_grouped_by(fleet: Fleet) -> None:
    for agent, model, tokens in (
        ("writer", "llm_small", 10),
        ("writer", "llm_large", 100),
        ("assistant", "llm_small", 1000),
        ("assistant", "llm_small", 1000),
    ):
        await called(fleet, agent, model, tokens)
    today = await fleet.state.ledger.today()
    by_day = await usage(fleet, group_by=[By.GROUP_BY_DAY], first_day=today)
    by_both = await usage(fleet, group_by=[By.GROUP_BY_MODEL, By.GROUP_BY_AGENT])
    assert [(row.day, row.cost_micros) for row in by_day.rows] == [(today, 4220)]
    assert costs(by_both) == [
        ("assistant", "llm_small", 4000),
        ("writer", "llm_large", 200),
        ("writer", "llm_small", 20),
    ]
    assert costs(await usage(fleet, agent="writer")) == [("", "", 220)]
    of_small = await usage(fleet, model="llm_small", group_by=[By.GROUP_BY_AGENT])
    assert costs(of_small) == [("assistant", "", 4000), ("writer", "", 20)]
    whole = usage_pb2.UsageRow(calls=4, prompt_tokens=2110, completion_tokens=4, cost_micros=4220)
    assert by_both.total == whole
    assert list((await usage(fleet)).rows) == [whole]


async def test_other_days_are_not_counted(fleet: Fleet) -> None:
    await called(fleet, "writer", "llm_small", 10)
    told = await usage(fleet, first_day="2001-01-01", last_day="2001-12-31")
    assert list(told.rows) == []


async def test_the_usage_of_a_session_and_of_a_run_is_their_own(fleet: Fleet) -> None:
    runs: list[Run] = []
    for text in ("one", "two"):
        run = await submitted(
            fleet.state, text, tenant=TENANT, session_id=runs[0].session_id if runs else ""
        )
        claim = await claim_one(fleet.state)
        await fleet.state.runs.commit(claim, answer(claim, tokens=7))
        runs.append(run)
    session = await usage(fleet, session_id=runs[0].session_id, group_by=[By.GROUP_BY_MODEL])
    own = await usage(fleet, run_id=runs[0].run_id)
    assert costs(session) == [("", "llm_small", 14)]
    assert (session.total.calls, own.total.calls, own.total.cost_micros) == (2, 1, 7)


async def test_a_sessions_usage_outlives_its_runs_but_not_itself(fleet: Fleet) -> None:
    run = await submitted(fleet.state, "one", tenant=TENANT)
    claim = await claim_one(fleet.state)
    await fleet.state.runs.commit(claim, answer(claim))
    await fleet.sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=run.session_id))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await usage(fleet, session_id=run.session_id)
    assert refusal(error.value).reason == "NOT_FOUND"
    assert (await usage(fleet)).total.calls == 1


async def test_no_tenant_sees_anothers_usage() -> None:
    keys = ApiKeyAuthenticator({"5" * 64: "acme"})
    async with serving(authenticator=keys) as fleet:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await usage(fleet)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with serving() as fleet:
        other = await submitted(fleet.state, "one", tenant="other")
        claim = await claim_one(fleet.state)
        await fleet.state.runs.commit(claim, answer(claim))
        assert list((await usage(fleet)).rows) == []
        for fields in ({"session_id": other.session_id}, {"run_id": other.run_id}):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await usage(fleet, **fields)
            assert refusal(error.value).code is grpc.StatusCode.NOT_FOUND


async def test_an_answer_of_a_model_asked_directly_has_no_agent(fleet: Fleet) -> None:
    question = sessions_pb2.Message(role=sessions_pb2.Message.ROLE_USER, content="hi")
    request = inference_pb2.GenerateRequest(model="llm_small", messages=[question])
    chunks = [chunk async for chunk in fleet.inference.Generate(request)]
    told = await usage(fleet, group_by=[By.GROUP_BY_AGENT, By.GROUP_BY_MODEL])
    assert costs(told) == [("", "llm_small", chunks[-1].finished.usage.cost_micros)]


async def test_budgets_tell_what_is_spent_and_reserved(bounded: Fleet) -> None:
    await called(bounded, "assistant", "llm_small", 2)
    await bounded.state.ledger.reserve(TENANT, "writer", 1)
    told = (await bounded.usage.ListBudgets(usage_pb2.ListBudgetsRequest())).budgets
    assert [
        (b.agent, b.period, b.limit_micros, b.spent_micros, b.reserved_micros) for b in told
    ] == [("", "month", 4_000, 4, 1), ("assistant", "day", 10, 4, 0), ("writer", "total", 2, 0, 1)]


async def test_without_budgets_there_are_none(fleet: Fleet) -> None:
    assert not (await fleet.usage.ListBudgets(usage_pb2.ListBudgetsRequest())).budgets
