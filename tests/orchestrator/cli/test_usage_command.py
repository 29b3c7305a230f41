"""`fleet usage`, and what `fleet runs get` says was paid."""

from __future__ import annotations

import json
import re

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.machine import CancelRequested, InferenceFinished, advance
from orchestrator.domain.runs import CallOutcome, ModelCall, StepRecord, Usage
from orchestrator.ports.state import Limits
from tests.orchestrator.adapters.state.given import claim_one, submitted
from tests.orchestrator.cli.terminal import fleet_command
from tests.orchestrator.rpc.given import CATALOGUE, Fleet, serving

SMALL, LARGE = CATALOGUE["llm_small"], CATALOGUE["llm_large"]
REJECTED = SMALL.call(Usage(prompt_tokens=100, completion_tokens=10), CallOutcome.REJECTED)
CACHED = SMALL.call(Usage(prompt_tokens=100, completion_tokens=7), CallOutcome.CACHED)
USED = LARGE.call(Usage(prompt_tokens=100, completion_tokens=20, cached_prompt_tokens=40))


async def answered(fleet: Fleet, *calls: ModelCall) -> str:
    """A run whose one step took these calls; returns its id."""
    run = await submitted(fleet.state, "hi", tenant="default")
    claim = await claim_one(fleet.state)
    record = StepRecord(step=1, attempt=1, model="llm_large", finish_reason="stop", calls=calls)
    await fleet.state.runs.commit(claim, advance(claim.run, InferenceFinished("Hi.", (), record)))
    return run.run_id


async def test_usage_is_a_table_by_day_and_model_with_a_total(fleet: Fleet, address: str) -> None:
    none = await fleet_command(address, "usage")
    assert (none.code, none.out, none.err) == (0, "", "no usage\n")
    await answered(fleet, REJECTED, CACHED, USED)
    today = await fleet.state.ledger.today()
    shown = await fleet_command(address, "usage")
    headings, *rows = shown.out.splitlines()
    large, small, total = (row.split() for row in rows)
    assert re.split(" {2,}", headings) == [
        *("DAY", "MODEL", "CALLS", "CACHED CALLS", "PROMPT", "CACHED PROMPT", "COMPLETION", "COST")
    ]
    assert large == [today, "llm_large", "1", "0", "100", "40", "20", "0.000108"]
    assert small == [today, "llm_small", "2", "1", "200", "0", "17", "0.000012"]
    assert total == ["total", "3", "1", "300", "40", "37", "0.000120"]


async def test_usage_is_grouped_and_chosen_as_asked(fleet: Fleet, address: str) -> None:
    run_id = await answered(fleet, REJECTED, USED)
    run = await fleet.state.runs.get("default", run_id)
    by_agent = await fleet_command(address, "usage", "--by", "model,agent", "--model", "llm_small")
    assert by_agent.out.splitlines()[1].split()[:3] == ["assistant", "llm_small", "1"]
    one = await fleet_command(address, "usage", "--by", "none", "--agent", "assistant")
    assert one.out.splitlines()[1].split()[0] == "2"
    for about in (("--run", run_id), ("--session", run.session_id)):
        own = await fleet_command(address, "usage", *about)
        assert [line.split()[0] for line in own.out.splitlines()[1:]] == [
            "llm_large",
            "llm_small",
            "total",
        ]


async def test_usage_is_printed_for_programs(fleet: Fleet, address: str) -> None:
    await answered(fleet, USED)
    as_json = json.loads((await fleet_command(address, "usage", "--json")).out)
    as_csv = await fleet_command(address, "usage", "--by", "agent,model", "--csv")
    assert as_json["total"]["cost_micros"] == as_json["rows"][0]["cost_micros"] == "108"
    assert as_csv.out.splitlines() == [
        "agent,model,calls,cached_calls,prompt_tokens,cached_prompt_tokens,completion_tokens,"
        "cost_micros",
        "assistant,llm_large,1,0,100,40,20,108",
    ]
    empty = await fleet_command(
        address, "usage", "--csv", "--from", "2001-01-01", "--to", "2001-01-02"
    )
    assert len(empty.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--by", "week"), "'week' is not one of day, agent, model, none"),
        (("--by", "day,day"), "'day' is given twice"),
        (("--from", "01.02.2026"), "first_day '01.02.2026' is not a day, such as '2026-01-31'"),
        (("--to", "2001-01-01", "--from", "2002-01-01"), "first_day 2002-01-01 is after the last"),
        (("--run", "nonsense"), "run_id 'nonsense' is not an id"),
        (("--agent", "a@1"), "agent 'a@1' has a version"),
        (("--json", "--csv"), "say one"),
        (("--session", "ses_00_0123456789abcdef", "--by", "day"), "it can only be 'model'"),
    ],
)
async def test_what_is_asked_wrongly_is_said(
    address: str, arguments: tuple[str, ...], said: str
) -> None:
    ended = await fleet_command(address, "usage", *arguments)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert ended.out == ""


async def test_budgets_are_shown_with_what_is_left() -> None:
    own = BudgetRule(limit_micros=5_000_000, period=Period.MONTH)
    agents = {"assistant": BudgetRule(limit_micros=100, period=Period.DAY)}
    limits = Limits(budgets=Budgets(default=own, agents=agents))
    async with serving(open_memory_state(limits=limits)) as fleet:
        await answered(fleet, USED)
        await fleet.state.ledger.reserve("default", "", 50)
        address = f"127.0.0.1:{fleet.server.port}"
        shown = await fleet_command(address, "usage", "budgets")
        lines = (await fleet_command(address, "usage", "budgets", "--json")).out.splitlines()
    _, tenant, agent = shown.out.splitlines()
    assert tenant.split() == [
        "the", "tenant", "month", "5.000000", "0.000108", "0.000050", "4.999842",
    ]  # fmt: skip
    assert agent.split() == [
        "agent", "assistant", "day", "0.000100", "0.000108", "0.000000", "0.000000",
    ]  # fmt: skip
    assert json.loads(lines[1])["agent"] == "assistant"


async def test_no_budgets_are_said_to_be_none(address: str) -> None:
    shown = await fleet_command(address, "usage", "budgets")
    assert (shown.code, shown.out, shown.err) == (0, "", "no budgets\n")


async def test_a_run_is_shown_with_each_call_its_outcome_and_its_price(
    fleet: Fleet, address: str
) -> None:
    run_id = await answered(fleet, REJECTED, CACHED, USED)
    shown = (await fleet_command(address, "runs", "get", run_id)).out
    headings, *calls = shown[shown.index("CALL OF") :].splitlines()[:4]
    assert re.split(" {2,}", headings)[2:] == [
        *("TOKENS", "CACHED", "PRICE IN", "PRICE CACHED", "PRICE OUT", "COST")
    ]
    assert [line.split() for line in calls] == [
        ["1", "llm_small", "rejected", "100+10", "0", "0.100000", "0.100000", "0.200000",
         "0.000012"],
        ["1", "llm_small", "cached", "100+7", "0", "0.100000", "0.100000", "0.200000",
         "0.000000"],
        ["1", "llm_large", "used", "100+20", "40", "0.900000", "0.900000", "0.900000",
         "0.000108"],
    ]  # fmt: skip


async def test_a_call_that_was_cut_short_is_shown_though_its_step_has_no_record(
    fleet: Fleet, address: str
) -> None:
    run = await submitted(fleet.state, "hi", tenant="default")
    claim = await claim_one(fleet.state)
    cut = SMALL.call(Usage(prompt_tokens=10, completion_tokens=1), CallOutcome.CUT_SHORT)
    await fleet.state.runs.commit(claim, advance(claim.run, CancelRequested((cut,))))
    shown = (await fleet_command(address, "runs", "get", run.run_id)).out
    assert "in no step: 1 call of llm_small, 10+1 tokens, 0.000002" in shown
