"""A tool call that can't be read is asked for once more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import RunEvent, StepRestarted, TextDelta
from orchestrator.domain.messages import Role
from orchestrator.domain.runs import RunState
from tests.orchestrator.worker.given import CATALOGUE, TENANT, call, working

CLERK = AgentSpec(system_prompt="Be brief.", tools=("calculator",))
BROKEN = '<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}</tool_call>'
GOOD = call("calculator", '{"expression": "6 * 7"}')
DOWN = Unavailable("the model is down", reason="MODEL_UNAVAILABLE")


def restarts(events: Sequence[RunEvent]) -> list[str]:
    return [e.payload.reason for e in events if isinstance(e.payload, StepRestarted)]


async def test_the_model_reads_its_answer_and_what_is_wrong_and_repairs_it() -> None:
    async with working([["Let me see. ", BROKEN], [GOOD], ["42."]]) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        ended = await fleet.ended(run)
        first, second, third = fleet.model.requests
        messages = await fleet.state.sessions.messages(TENANT, run.session_id)
    assert ended.state is RunState.COMPLETED
    assert ended.result == "42."
    assert second.messages[: len(first.messages)] == first.messages
    said, told = second.messages[len(first.messages) :]
    assert (said.role, said.content) == (Role.ASSISTANT, f"Let me see. {BROKEN}")
    assert told.role is Role.USER
    assert "Expecting ',' at character 59" in told.content
    assert second.tools == first.tools
    kept = [(m.role, m.content) for m in messages]
    asked = (Role.USER, "6 * 7?")
    assert kept == [asked, (Role.ASSISTANT, ""), (Role.TOOL, "42"), (Role.ASSISTANT, "42.")]
    assert [m.content for m in third.messages[1:]] == ["6 * 7?", "", "42"]


async def test_watchers_are_told_that_the_step_starts_over_and_why() -> None:
    async with working([["Let me see. ", BROKEN], ["I can't."]]) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        events = await fleet.events(run)
        ended = await fleet.now(run)
    (reason,) = restarts(events)
    assert reason.startswith("MALFORMED_TOOL_CALL: a tool call can't be read: it is not a JSON")
    at = next(i for i, e in enumerate(events) if isinstance(e.payload, StepRestarted))
    after = "".join(e.payload.text for e in events[at:] if isinstance(e.payload, TextDelta))
    assert after == "I can't." == ended.result
    assert {e.step for e in events if isinstance(e.payload, TextDelta | StepRestarted)} == {1}


async def test_both_turns_are_charged() -> None:
    async with working([[BROKEN], ["fine"]]) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        ended = await fleet.ended(run)
        first, second = fleet.model.requests
        (step,) = await fleet.state.runs.steps(TENANT, run.run_id)
    prompts = [sum(len(m.content.split()) for m in r.messages) for r in (first, second)]
    assert ended.usage.prompt_tokens == sum(prompts)
    assert ended.usage.completion_tokens == len(BROKEN.split()) + 1
    assert ended.usage.cost_micros == CATALOGUE["small"].cost_micros(ended.usage)
    assert step.usage == ended.usage


async def test_a_second_malformed_call_fails_the_run_and_both_are_charged() -> None:
    async with working([[BROKEN], ["<tool_call>[]</tool_call>"], ["never"]]) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        events = await fleet.events(run)
        ended = await fleet.now(run)
        asked = len(fleet.model.requests)
        counted = fleet.figure("fleet_tokens_total", model="small", kind="completion")
    assert asked == 2
    assert ended.state is RunState.FAILED
    assert ended.error is not None
    assert ended.error.reason == "MALFORMED_TOOL_CALL"
    assert "small" in ended.error.message
    assert "Expecting '{'" in ended.error.message
    assert ended.usage.completion_tokens == counted == len(BROKEN.split()) + 1
    assert len(restarts(events)) == 1


async def test_each_step_has_a_repair_of_its_own() -> None:
    script: list[Turn] = [[BROKEN], [GOOD], [BROKEN], ["42."]]
    async with working(script) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        events = await fleet.events(run)
        ended = await fleet.now(run)
    assert ended.result == "42."
    assert len(restarts(events)) == 2


async def test_calls_that_were_read_before_the_malformed_one_are_not_run() -> None:
    async with working([[GOOD, BROKEN], ["I can't."]]) as fleet:
        ended = await fleet.ended(await fleet.start("6 * 7?", spec=CLERK))
    assert (ended.result, ended.usage.tool_calls) == ("I can't.", 0)


async def test_a_budget_that_the_malformed_call_used_up_ends_the_run() -> None:
    budget = Budget(max_tokens=3 + len(BROKEN.split()))
    spec = AgentSpec(tools=("calculator",))
    async with working([[BROKEN], ["never"]]) as fleet:
        ended = await fleet.ended(await fleet.start("what is it?", spec=spec, budget=budget))
        asked = len(fleet.model.requests)
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert "while small wrote a tool call" in ended.error.message
    assert (asked, ended.usage.tokens) == (1, budget.max_tokens)


async def test_a_repair_that_the_budget_has_no_room_for_is_not_asked_for_but_charged() -> None:
    budget = Budget(max_tokens=10 + len(BROKEN.split()))
    async with working([[BROKEN], ["never"]]) as fleet:
        ended = await fleet.ended(await fleet.start("6 * 7?", spec=CLERK, budget=budget))
        asked, refused = len(fleet.model.requests), len(fleet.model.refused)
    assert ended.error is not None
    assert ended.error.reason == "BUDGET"
    assert (asked, refused) == (1, 1)
    assert ended.usage.completion_tokens == len(BROKEN.split())


async def test_a_repair_may_take_what_the_budget_leaves_and_no_more() -> None:
    budget = Budget(max_tokens=80)
    async with working([[BROKEN], [" ".join("word" for _ in range(100))]]) as fleet:
        ended = await fleet.ended(await fleet.start("6 * 7?", spec=CLERK, budget=budget))
    assert ended.state is RunState.COMPLETED
    assert ended.usage.tokens == 80


async def test_a_repair_that_does_not_fit_the_model_fails_the_run_and_is_charged() -> None:
    model = ScriptedLanguageModel([[BROKEN], ["never"]], context_tokens=20)
    async with working(model) as fleet:
        ended = await fleet.ended(await fleet.start("6 * 7?", spec=CLERK))
    assert ended.error is not None
    assert ended.error.reason == "CONTEXT_LENGTH"
    assert ended.usage.completion_tokens == len(BROKEN.split())


async def test_a_model_that_goes_away_during_the_repair_is_asked_anew_but_not_repaired_again() -> (
    None
):
    async with working([[BROKEN], [DOWN], [BROKEN], ["never"]]) as fleet:
        run = await fleet.start("6 * 7?", spec=CLERK)
        ended = await fleet.ended(run)
        models = [request.model for request in fleet.model.requests]
    assert models == ["small", "small", "large"]
    assert ended.error is not None
    assert ended.error.reason == "MALFORMED_TOOL_CALL"
    assert ended.usage.completion_tokens == 2 * len(BROKEN.split())


async def test_the_deadline_holds_during_the_repair() -> None:
    async with working([[BROKEN], [asyncio.Event()]]) as fleet:
        ended = await fleet.ended(await fleet.start("6 * 7?", spec=CLERK, timeout_ms=2_000))
        stopped = fleet.model.stopped
    assert ended.error is not None
    assert (ended.error.reason, stopped) == ("DEADLINE_EXCEEDED", 1)


async def test_of_a_long_answer_the_model_reads_the_beginning_and_the_end() -> None:
    long = f"Let me think. {'x' * 9_000} {BROKEN}"
    async with working([[long], ["fine"]]) as fleet:
        await fleet.ended(await fleet.start("6 * 7?", spec=CLERK))
        said = fleet.model.requests[1].messages[-2].content
    assert len(said) < 2_100
    assert said.startswith("Let me think.")
    assert said.endswith(BROKEN)
