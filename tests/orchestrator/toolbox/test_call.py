"""Tool calls of whole runs: a worker and a toolbox over memory state and a scripted model."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.agents import AgentSpec, ClientTool
from orchestrator.domain.events import Interrupted, ToolCallFinished
from orchestrator.domain.runs import Run, RunState
from orchestrator.domain.tools import Effect, Outcome, ToolResult
from tests.orchestrator.toolbox.scripted import OK, Gate, ScriptedTool, hang, started
from tests.orchestrator.worker.given import Fleet, Times, call, working

CLERK = AgentSpec(tools=("odd",))
SCRIPT = [[call("odd", '{"n": 1}')], ["told"]]


async def finished(fleet: Fleet, run: Run) -> ToolCallFinished:
    (only,) = [
        event.payload
        for event in await fleet.events(run)
        if isinstance(event.payload, ToolCallFinished)
    ]
    return only


async def interrupted(fleet: Fleet, run: Run) -> Run:
    await fleet.seen(run, Interrupted)
    return await fleet.now(run)


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.IDEMPOTENT])
async def test_a_passing_failure_is_tried_again_under_the_same_key(effect: Effect) -> None:
    tool = ScriptedTool(Outcome.TRANSIENT, Outcome.UNKNOWN, effect=effect)
    async with working(SCRIPT, tools=[tool]) as fleet:
        run = await fleet.start("go", spec=CLERK)
        result = await finished(fleet, run)
    assert result.ok
    assert len(tool.keys) == 3
    assert len(set(tool.keys)) == 1
    assert tool.keys[0].startswith(f"{run.run_id}:1:")


async def test_the_model_reads_the_error_when_the_attempts_are_used_up() -> None:
    tool = ScriptedTool(*[Outcome.TRANSIENT] * 9)
    async with working(SCRIPT, tools=[tool]) as fleet:
        run = await fleet.start("go", spec=CLERK)
        result = await finished(fleet, run)
        ended = await fleet.ended(run)
    assert not result.ok
    assert "it was transient" in result.content
    assert len(tool.calls) == 3
    assert (ended.state, ended.result) == (RunState.COMPLETED, "told")


async def test_a_failure_is_told_at_once() -> None:
    tool = ScriptedTool(Outcome.FAILED)
    async with working(SCRIPT, tools=[tool]) as fleet:
        result = await finished(fleet, await fleet.start("go", spec=CLERK))
    assert not result.ok
    assert len(tool.calls) == 1


async def test_what_must_not_happen_twice_is_tried_again_only_if_it_did_not_happen() -> None:
    tool = ScriptedTool(Outcome.TRANSIENT, Outcome.TRANSIENT, effect=Effect.AT_MOST_ONCE)
    async with working(SCRIPT, tools=[tool]) as fleet:
        result = await finished(fleet, await fleet.start("go", spec=CLERK))
    assert result.ok
    assert len(tool.calls) == 3


async def test_a_person_decides_when_it_may_have_happened() -> None:
    tool = ScriptedTool(Outcome.UNKNOWN, effect=Effect.AT_MOST_ONCE)
    async with working(SCRIPT, tools=[tool]) as fleet:
        stopped = await interrupted(fleet, await fleet.start("go", spec=CLERK))
    assert stopped.state is RunState.INTERRUPTED
    assert len(tool.calls) == 1


async def test_a_call_that_was_cut_off_is_not_made_a_second_time() -> None:
    tool = ScriptedTool(do=hang, effect=Effect.AT_MOST_ONCE)
    async with working(SCRIPT, tools=[tool], times=Times(lease_s=0.6)) as fleet:
        run = await fleet.start("go", spec=CLERK)
        await started(tool)
        dead = next(t for t in asyncio.all_tasks() if t.get_name() == tool.keys[0])
        dead.cancel()
        await interrupted(fleet, run)
    assert len(tool.calls) == 1


async def test_calls_that_find_no_place_wait_in_the_queue_and_lose_no_attempt() -> None:
    gate = Gate()
    full = ScriptedTool(do=gate, concurrency=1, effect=Effect.AT_MOST_ONCE)
    free = ScriptedTool(name="free")
    one = call("odd", "{}")

    def turn(request: object) -> list[str]:
        last = request.messages[-1]  # type: ignore[attr-defined]
        if last.role == "tool":
            return ["told"]
        return [call("free", "{}")] if last.content == "free" else [one]

    spec = AgentSpec(tools=("odd", "free"))
    async with working(turn, tools=[full, free]) as fleet:
        runs = [await fleet.start("full", spec=spec) for _ in range(12)]
        await asyncio.wait_for(gate.entered.wait(), 10)
        # The toolbox has 8 slots: those that wait must not hold all of them.
        ended = await fleet.ended(await fleet.start("free", spec=spec))
        assert ended.result == "told"
        gate.opened.set()
        results = [await fleet.ended(run) for run in runs]
    assert [run.state for run in results] == [RunState.COMPLETED] * 12
    assert (len(full.calls), full.most) == (12, 1)


async def test_a_run_ends_at_its_timeout_while_a_tool_hangs() -> None:
    tool = ScriptedTool(do=hang, timeout_s=0.2, effect=Effect.PURE)
    async with working(SCRIPT, tools=[tool]) as fleet:
        run = await fleet.start("go", spec=CLERK, timeout_ms=100)
        ended = await fleet.ended(run)
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"


async def test_a_tool_that_is_gone_is_told_to_the_model() -> None:
    async with working(SCRIPT, tools=[]) as fleet:
        result = await finished(fleet, await fleet.start("go", spec=CLERK))
    assert not result.ok
    assert "no tool 'odd'" in result.content


async def test_a_tool_that_there_is_not_is_answered_with_all_that_may_be_called() -> None:
    spec = AgentSpec(
        client_tools=(ClientTool(name="stock"),),
        agents=("clerk",),
        handovers=("boss@2",),
    )
    async with working(SCRIPT, tools=[]) as fleet:
        result = await finished(fleet, await fleet.start("go", spec=spec))
    assert "the tools are: stock, ask_clerk, hand_over_to_boss" in result.content


def test_a_result_is_ok_only_when_it_is() -> None:
    assert OK.ok
    assert not any(ToolResult(o, "").ok for o in Outcome if o is not Outcome.OK)
