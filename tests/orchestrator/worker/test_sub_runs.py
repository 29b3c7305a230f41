"""Agents that start other agents, and agents that hand a session over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from orchestrator.adapters.scripted_models import Cue
from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.events import SubRunStarted, TextDelta, ToolCallFinished
from orchestrator.domain.messages import Role
from orchestrator.domain.runs import Run, RunState
from tests.orchestrator.worker.given import TENANT, Fleet, call, working

BOSS = AgentSpec(system_prompt="boss", agents=("helper",))
HELPER = AgentSpec(system_prompt="helper", description="Helps.")


def ask(name: str, text: str) -> str:
    return call(f"ask_{name}", json.dumps({"input": text}))


class Cast:
    """Each agent, by its system prompt, says its lines in order."""

    def __init__(self, **lines: Sequence[Sequence[Cue]]) -> None:
        self._lines = {name: iter(said) for name, said in lines.items()}

    def __call__(self, request: ChatRequest) -> Sequence[Cue]:
        return next(self._lines[request.messages[0].content])


async def child_of(fleet: Fleet, run: Run) -> Run:
    started = await fleet.seen(run, SubRunStarted)
    return await fleet.state.runs.get(TENANT, started.run_id)


async def test_a_run_starts_another_agent_and_gets_its_answer() -> None:
    cast = Cast(boss=[[ask("helper", "count to two")], ["It said: 1 2"]], helper=[["1 2"]])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS)
        ended = await fleet.ended(run)
        child = await child_of(fleet, run)
        finished = await fleet.seen(run, ToolCallFinished)
        steps = await fleet.state.runs.steps(TENANT, run.run_id)
        shown = fleet.model.requests[0].tools
        session = await fleet.state.sessions.get(TENANT, child.session_id)
    assert ended.result == "It said: 1 2"
    assert (finished.ok, finished.content) == (True, "1 2")
    assert (child.input, child.agent, child.tenant) == ("count to two", "helper@1", TENANT)
    assert child.parent is not None
    assert (child.parent.run_id, child.parent.depth) == (run.run_id, 1)
    assert child.labels == session.labels == {"parent_run_id": run.run_id}
    assert child.session_id != run.session_id
    assert [(tool.name, "Helps." in tool.description) for tool in shown] == [("ask_helper", True)]
    own = sum(step.usage.tokens for step in steps)
    assert ended.usage.tokens == own + child.usage.tokens
    assert child.usage.tokens > 0


async def test_two_children_of_a_step_work_at_once_and_join_in_order() -> None:
    both_began = asyncio.Event()
    begun: list[str] = []

    def turn(request: ChatRequest) -> Sequence[Cue]:
        who, last = request.messages[0].content, request.messages[-1]
        if who == "boss":
            return ["ok"] if last.role is Role.TOOL else [ask("helper", "a") + ask("helper", "b")]
        begun.append(last.content)
        if len(begun) == 2:
            both_began.set()
        return [both_began, f"did {last.content}"]

    async with working(turn) as fleet:
        await fleet.agent("helper", HELPER)
        await fleet.ended(await fleet.start("go", spec=BOSS))
        seen = [m.content for m in fleet.model.requests[-1].messages if m.role is Role.TOOL]
    assert seen == ["did a", "did b"]


async def test_a_child_that_fails_is_an_error_that_the_model_sees() -> None:
    lines = [["<tool_call>{oops}</tool_call>"]]
    cast = Cast(boss=[[ask("helper", "x")], ["too bad"]], helper=lines)
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS)
        ended = await fleet.ended(run)
        finished = await fleet.seen(run, ToolCallFinished)
    assert ended.result == "too bad"
    assert not finished.ok
    assert "helper@1 failed" in json.loads(finished.content)["error"]


async def test_a_child_shares_what_is_left_of_its_parents_budget_and_time() -> None:
    gate = asyncio.Event()
    two = ask("helper", "a") + ask("helper", "b")
    cast = Cast(boss=[[two], ["done"]], helper=[[gate, "ok"], [gate, "ok"]])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER.model_copy(update={"budget": Budget(max_steps=50)}))
        budget = Budget(max_tokens=1_000, max_cost_micros=9_000, max_steps=9)
        run = await fleet.start("go", spec=BOSS, budget=budget, timeout_ms=60_000)
        child = await child_of(fleet, run)
        parent = await fleet.now(run)
        gate.set()
        await fleet.ended(run)
    left = 1_000 - parent.usage.tokens
    assert child.budget.max_tokens == left // 2
    assert child.budget.max_cost_micros == (9_000 - parent.usage.cost_micros) // 2
    assert child.budget.max_steps == 4
    assert 0 < child.timeout_ms <= 60_000


async def test_children_for_whom_nothing_is_left_are_not_started() -> None:
    two = ask("helper", "a") + ask("helper", "b")
    cast = Cast(boss=[[two], ["alone"]], helper=[])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS, budget=Budget(max_steps=2))
        ended = await fleet.ended(run)
        runs = (await fleet.state.runs.list(TENANT, session_id="", limit=9, token="")).items
        finished = await fleet.seen(run, ToolCallFinished)
    assert ended.result == "alone"
    assert len(runs) == 1
    assert "max_steps" in finished.content


async def test_agents_start_agents_only_so_deep() -> None:
    def turn(request: ChatRequest) -> Sequence[Cue]:
        last = request.messages[-1]
        return [f"({last.content})"] if last.role is Role.TOOL else [ask("helper", "deeper")]

    async with working(turn) as fleet:
        await fleet.agent("helper", AgentSpec(agents=("helper",)))
        ended = await fleet.ended(await fleet.start("go", spec=BOSS))
        runs = (await fleet.state.runs.list(TENANT, session_id="", limit=20, token="")).items
    assert max(run.parent.depth for run in runs if run.parent) == 4
    assert "4 deep" in ended.result
    assert all(run.state is RunState.COMPLETED for run in runs)


async def test_a_cancel_reaches_the_child_and_the_grandchild() -> None:
    gate = asyncio.Event()
    cast = Cast(boss=[[ask("helper", "x")]], helper=[[ask("intern", "y")]], intern=[["work", gate]])
    async with working(cast) as fleet:
        await fleet.agent("intern", AgentSpec(system_prompt="intern"))
        await fleet.agent("helper", AgentSpec(system_prompt="helper", agents=("intern",)))
        run = await fleet.start("go", spec=BOSS)
        child = await child_of(fleet, run)
        grandchild = await child_of(fleet, child)
        await fleet.seen(grandchild, TextDelta)
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = [await fleet.ended(each) for each in (run, child, grandchild)]
        stopped = fleet.model.stopped
    assert [each.state for each in ended] == [RunState.CANCELLED] * 3
    assert stopped == 1


async def test_a_parent_at_its_timeout_takes_its_children_along() -> None:
    cast = Cast(boss=[[ask("helper", "x")]], helper=[["work", asyncio.Event()]])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS, timeout_ms=400)
        child = await child_of(fleet, run)
        ended, ended_child = await fleet.ended(run), await fleet.ended(child)
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"
    assert ended_child.state in (RunState.CANCELLED, RunState.FAILED)


async def test_a_child_may_be_cancelled_alone() -> None:
    cast = Cast(boss=[[ask("helper", "x")], ["went on"]], helper=[["work", asyncio.Event()]])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS)
        child = await child_of(fleet, run)
        await fleet.seen(child, TextDelta)
        await fleet.state.runs.cancel(TENANT, child.run_id)
        ended = await fleet.ended(run)
        finished = await fleet.seen(run, ToolCallFinished)
    assert ended.result == "went on"
    assert "helper@1 cancelled" in finished.content


async def test_a_session_is_handed_over_to_another_agent() -> None:
    hand = call("hand_over_to_expert", '{"reason": "too hard"}')
    cast = Cast(boss=[[hand]], expert=[["42"], ["43"]])
    spec = AgentSpec(system_prompt="boss", handovers=("expert",))
    async with working(cast) as fleet:
        await fleet.agent("expert", AgentSpec(system_prompt="expert"))
        run = await fleet.start("meaning?", spec=spec)
        ended = await fleet.ended(run)
        session = await fleet.state.sessions.get(TENANT, run.session_id)
    assert ended.result == "42"
    assert ended.agent == "expert@1"
    assert session.agent.startswith("expert")


async def test_a_handover_beside_other_calls_is_refused() -> None:
    two = call("hand_over_to_expert", '{"reason": "r"}') + call("calculator", '{"expression":"1"}')
    cast = Cast(boss=[[two], ["mine"]], expert=[])
    spec = AgentSpec(system_prompt="boss", handovers=("expert",), tools=("calculator",))
    async with working(cast) as fleet:
        await fleet.agent("expert", AgentSpec(system_prompt="expert"))
        ended = await fleet.ended(await fleet.start("?", spec=spec))
    assert (ended.result, ended.agent) == ("mine", "assistant@1")


@pytest.mark.parametrize("arguments", ['{"text": "x"}', '{"input": 5}', '{"input": ""}'])
async def test_a_call_that_does_not_say_what_to_do_starts_nothing(arguments: str) -> None:
    cast = Cast(boss=[[call("ask_helper", arguments)], ["oh"]], helper=[])
    async with working(cast) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS)
        ended = await fleet.ended(run)
        finished = await fleet.seen(run, ToolCallFinished)
    assert ended.result == "oh"
    assert '\\"input\\"' in finished.content
