"""Budgets end a run before the step that would break them."""

from __future__ import annotations

import pytest

from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.runs import RunState
from tests.orchestrator.worker.given import call, working

CLERK = AgentSpec(tools=("calculator",))
LONG = "one two three four five six seven eight"


@pytest.mark.parametrize(
    "budget",
    [Budget(max_tokens=8), Budget(max_cost_micros=8)],
    ids=["tokens", "cost"],
)
async def test_a_prompt_that_would_break_the_budget_never_reaches_the_model(budget: Budget) -> None:
    async with working([["never"]]) as fleet:
        ended = await fleet.ended(await fleet.start(LONG, budget=budget))
        letters = (await fleet.state.dead_letters.list("acme", limit=10, token="")).items
        asked, refused = fleet.model.requests, fleet.model.refused
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert (asked, len(refused)) == ([], 1)
    assert ended.usage.tokens == 0
    assert not letters


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(max_tokens=11), 3),
        (Budget(max_cost_micros=15), 3),  # 8 for the prompt, 2 for each new token
    ],
    ids=["tokens", "cost"],
)
async def test_an_answer_is_cut_where_the_budget_ends(budget: Budget, words: int) -> None:
    async with working([["a b ", "c d ", "e f"]]) as fleet:
        ended = await fleet.ended(await fleet.start(LONG, budget=budget))
        (step,) = await fleet.state.runs.steps("acme", ended.run_id)
    assert ended.state is RunState.COMPLETED
    assert ended.result.split() == ["a", "b", "c"][:words]
    assert step.finish_reason == "length"
    assert ended.usage.tokens <= (budget.max_tokens or 100)
    assert ended.usage.cost_micros <= (budget.max_cost_micros or 100)


async def test_what_earlier_steps_took_is_counted() -> None:
    script = [[call("calculator", '{"expression": "1 + 1"}')], ["never"]]
    async with working(script) as fleet:
        run = await fleet.start("one two three", spec=CLERK, budget=Budget(max_tokens=16))
        ended = await fleet.ended(run)
        asked = fleet.model.requests
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert len(asked) == 1
    assert ended.usage.tokens <= 16


async def test_a_spent_budget_stops_before_the_next_step() -> None:
    async with working(lambda _: [call("calculator", '{"expression": "1"}')]) as fleet:
        ended = await fleet.ended(await fleet.start("loop", spec=CLERK, budget=Budget(max_steps=3)))
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert len(fleet.model.requests) == 3


async def test_a_call_that_the_budget_cut_off_is_no_malformed_call() -> None:
    cut = ['<tool_call>{"name": "calculator", "arguments": {"expression": "1 + 1"}}</tool_call>']
    async with working([cut]) as fleet:
        run = await fleet.start("one two", spec=CLERK, budget=Budget(max_tokens=5))
        ended = await fleet.ended(run)
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert ended.usage.tokens == 5
