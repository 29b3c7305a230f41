"""Runs with an output schema: what the model is asked, and what becomes the result."""

from __future__ import annotations

import json

import pytest

from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.catalogue import Capability
from orchestrator.domain.chat import FinishReason
from orchestrator.domain.events import Finished, StepRestarted, TextDelta, ToolCallFinished
from orchestrator.domain.messages import Role
from orchestrator.domain.runs import RunState
from tests.orchestrator.worker.given import CATALOGUE, SMALL, call, working

SCHEMA = '{"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}'
COUNTER = AgentSpec(system_prompt="Count.", output_schema_json=SCHEMA)
CLERK = COUNTER.model_copy(update={"tools": ("calculator",)})
ABLE = frozenset({Capability.CHAT, Capability.TOOLS, Capability.STRUCTURED})
CONSTRAINING = {"small": SMALL.model_copy(update={"capabilities": ABLE})}
SUM = call("calculator", '{"expression": "1 + 1"}')


async def test_the_result_is_the_checked_json_in_one_form_everywhere() -> None:
    async with working([['{"to', 'tal": 2}']]) as fleet:
        run = await fleet.start("1 + 1", spec=COUNTER)
        events = await fleet.events(run)
        ended = await fleet.now(run)
        kept = await fleet.state.sessions.messages("acme", run.session_id, start=0, limit=9)
    (finished,) = [e.payload for e in events if isinstance(e.payload, Finished)]
    assert ended.state is RunState.COMPLETED
    assert [ended.result, finished.result, kept[-1].content] == ['{"total":2}'] * 3
    assert [e.payload.text for e in events if isinstance(e.payload, TextDelta)] != []


@pytest.mark.parametrize("catalogue", [CATALOGUE, CONSTRAINING], ids=["told", "held"])
async def test_without_tools_the_first_answer_is_asked_for_as_json(
    catalogue: dict[str, object],
) -> None:
    async with working([['{"total": 2}']], catalogue=catalogue) as fleet:  # type: ignore[arg-type]
        await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
        (request,) = fleet.model.requests
    assert request.output is not None
    assert request.output.schema == json.loads(SCHEMA)
    assert request.messages[0].role is Role.SYSTEM
    assert request.messages[0].content.startswith("Count.\n\nAnswer with one JSON value")
    assert SCHEMA in request.messages[0].content


async def test_with_tools_an_engine_is_held_to_the_schema_once_the_model_answers() -> None:
    script = [[SUM], ["It is two."], ['{"total": 2}']]
    async with working(script, catalogue=CONSTRAINING) as fleet:
        run = await fleet.start("1 + 1", spec=CLERK)
        events = await fleet.events(run)
        ended = await fleet.now(run)
        first, second, third = fleet.model.requests
        steps = await fleet.state.runs.steps("acme", run.run_id)
    assert ended.result == '{"total":2}'
    assert (len(first.tools), len(second.tools), len(third.tools)) == (1, 1, 0)
    assert (first.output, second.output) == (None, None)
    assert third.output is not None
    assert third.messages[:-2] == second.messages
    assert [m.content for m in third.messages[-2:-1]] == ["It is two."]
    assert SCHEMA in third.messages[-1].content
    restarted = [e for e in events if isinstance(e.payload, StepRestarted)]
    assert [e.step for e in restarted] == [2]
    after = [
        e.payload.text
        for e in events[events.index(restarted[0]) :]
        if isinstance(e.payload, TextDelta)
    ]
    assert "".join(after) == '{"total": 2}'
    assert len(steps) == 2
    assert sum(s.usage.tokens for s in steps) == ended.usage.tokens


async def test_a_model_that_answers_with_fitting_json_by_itself_is_not_asked_again() -> None:
    async with working([[SUM], ['{"total": 2}']], catalogue=CONSTRAINING) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=CLERK))
        asked = len(fleet.model.requests)
    assert (ended.result, asked) == ('{"total":2}', 2)


async def test_where_the_engine_cannot_be_held_the_model_is_told_what_is_wrong_once() -> None:
    async with working([["two"], ['{"total": 2}']]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=CLERK))
        first, second = fleet.model.requests
    assert ended.result == '{"total":2}'
    assert SCHEMA in first.messages[0].content
    assert (len(first.tools), len(second.tools)) == (1, 0)
    assert [m.role for m in second.messages[-2:]] == [Role.ASSISTANT, Role.USER]
    assert "That can't be used: the answer is not JSON" in second.messages[-1].content


async def test_an_answer_that_is_wrong_twice_fails_the_run_and_is_charged() -> None:
    async with working([["two"], ['{"total": "two"}']]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
        letters = (await fleet.state.dead_letters.list("acme", limit=10, token="")).items
    assert ended.error is not None
    assert ended.error.reason == "INVALID_OUTPUT"
    assert "answer.total: 'two' is not of type 'integer'" in ended.error.message
    assert ended.usage.completion_tokens == 3
    assert ended.usage.cost_micros > 0
    assert not letters


async def test_an_answer_that_was_cut_short_is_asked_for_briefly() -> None:
    script = [['{"total": 22222', FinishReason.LENGTH], ['{"total": 2}']]
    async with working(script, catalogue=CONSTRAINING) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
        first, second = fleet.model.requests
    assert ended.result == '{"total":2}'
    assert first.output is not None
    assert second.output is not None
    assert (first.output.brief, second.output.brief) == (False, True)
    assert "cut short by its token limit" in second.messages[-1].content


async def test_an_answer_that_is_cut_short_twice_says_so() -> None:
    cut = ['{"total": 22222', FinishReason.LENGTH]
    async with working([cut, cut]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
    assert ended.error is not None
    assert ended.error.reason == "INVALID_OUTPUT"
    assert "cut short by its token limit" in ended.error.message


async def test_json_that_looks_like_a_tool_call_is_json() -> None:
    text = '{"total": 2, "said": "<tool_call>{}"}'
    async with working([[text]]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
    assert json.loads(ended.result) == json.loads(text)


async def test_asking_again_stays_within_the_budget_and_is_charged_when_it_can_not() -> None:
    async with working([["two " * 10], ["never"]]) as fleet:
        run = await fleet.start("1 + 1", spec=COUNTER, budget=Budget(max_tokens=60))
        ended = await fleet.ended(run)
        asked = len(fleet.model.requests)
    assert ended.error is not None
    assert (ended.error.reason, asked) == ("BUDGET", 1)
    assert ended.usage.completion_tokens == 10


async def test_another_agents_object_is_the_result_of_the_call() -> None:
    script = [[call("ask_counter", '{"input": "1 + 1"}')], ['{"total": 2}'], ["It is 2."]]
    async with working(script) as fleet:
        await fleet.agent("counter", COUNTER)
        run = await fleet.start("1 + 1", spec=AgentSpec(agents=("counter",)))
        events = await fleet.events(run)
        ended = await fleet.now(run)
    (told,) = [e.payload for e in events if isinstance(e.payload, ToolCallFinished)]
    assert (told.ok, told.content) == (True, '{"total":2}')
    assert ended.result == "It is 2."


async def test_the_agent_that_a_run_is_handed_to_owes_what_the_first_one_promised() -> None:
    script = [[call("hand_over_to_other", '{"reason": "x"}')], ["Two."], ['{"total": 2}']]
    async with working(script) as fleet:
        await fleet.agent("other", AgentSpec(system_prompt="Talk."))
        spec = COUNTER.model_copy(update={"handovers": ("other",)})
        ended = await fleet.ended(await fleet.start("1 + 1", spec=spec))
    assert ended.agent == "other@1"
    assert ended.result == '{"total":2}'


async def test_a_schema_longer_than_the_context_is_left_to_the_engine() -> None:
    entry = CONSTRAINING["small"].model_copy(update={"context_tokens": len(SCHEMA) - 1})
    async with working([['{"total": 2}']], catalogue={"small": entry}) as fleet:
        await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
        (request,) = fleet.model.requests
    assert request.messages[0].content == "Count.\n\nAnswer with one JSON value and nothing else."
