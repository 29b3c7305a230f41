from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest

from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec
from orchestrator.execution.breaker import BreakerPolicy
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.decision import Busy
from orchestrator.toolbox.runner import RunnerSettings, ToolRunner
from tests.orchestrator.toolbox.scripted import OK, Gate, ScriptedTool, hang, started

SETTINGS = RunnerSettings(
    max_waiting=2, grace_s=0.01, breaker=BreakerPolicy(failures=2, rest_s=30.0)
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def run(
    runner: ToolRunner, tool: ScriptedTool, arguments: str = "{}", *, remaining_s: float = 10.0
) -> ToolResult | Busy:
    call = ToolCall(call_id="c", name=tool.spec.schema.name, arguments_json=arguments)
    return await runner.run(tool.spec, call, key="run:1:c", remaining_s=remaining_s)


async def outcome(runner: ToolRunner, tool: ScriptedTool) -> Outcome:
    result = await run(runner, tool)
    assert isinstance(result, ToolResult)
    return result.outcome


def runner_of(*tools: ScriptedTool, now: Clock | None = None) -> ToolRunner:
    return ToolRunner(ToolRegistry(tools), SETTINGS, now=now or Clock())


async def test_the_tool_gets_the_key_and_arguments_that_everyone_reads_alike() -> None:
    tool = ScriptedTool()
    assert await run(runner_of(tool), tool, ' {"n" : 1}\n') == OK
    assert tool.keys == ["run:1:c"]
    assert tool.calls[0].arguments_json == '{"n": 1}'


async def test_wrong_arguments_never_reach_the_tool() -> None:
    tool = ScriptedTool()
    result = await run(runner_of(tool), tool, '{"n": "one"}')
    assert isinstance(result, ToolResult)
    assert result.outcome is Outcome.FAILED
    assert json.loads(result.content)["error"].startswith("arguments.n: ")
    assert tool.calls == []


async def test_a_tool_whose_schema_turns_bad_fails_its_call() -> None:
    tool = ScriptedTool()
    tool.spec = ToolSpec(ToolSchema("odd", "Odd.", {"type": "object", "$ref": "http://x.test/"}))
    assert await outcome(runner_of(tool), tool) is Outcome.FAILED
    assert tool.calls == []


@pytest.mark.parametrize(("timeout_s", "remaining_s"), [(0.02, 10.0), (10.0, 0.02)])
async def test_a_call_ends_at_the_tools_timeout_or_the_runs(
    timeout_s: float, remaining_s: float
) -> None:
    tool = ScriptedTool(do=hang, timeout_s=timeout_s)
    result = await run(runner_of(tool), tool, remaining_s=remaining_s)
    assert isinstance(result, ToolResult)
    assert result.outcome is Outcome.UNKNOWN
    assert "longer than 0.02 s" in result.content
    assert tool.running == 0


async def test_a_tool_that_leaves_the_program_ends_its_call_alone() -> None:
    async def leave(_: ScriptedTool) -> ToolResult:
        raise SystemExit(3)

    tool = ScriptedTool(do=leave)
    assert await outcome(runner_of(tool), tool) is Outcome.UNKNOWN


async def test_a_source_that_raises_leaves_it_open_what_happened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: ScriptedTool) -> ToolResult:
        raise LookupError("secret")

    tool = ScriptedTool(do=fail)
    with caplog.at_level(logging.DEBUG):
        assert await outcome(runner_of(tool), tool) is Outcome.UNKNOWN
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


async def test_what_a_tool_says_is_bounded_and_made_safe() -> None:
    async def talk(_: ScriptedTool) -> ToolResult:
        return ToolResult(Outcome.OK, "\x1b" + "é" * 50_000)

    tool = ScriptedTool(do=talk)
    result = await run(runner_of(tool), tool)
    assert isinstance(result, ToolResult)
    assert result.content.startswith("\ufffdé")
    assert len(result.content.encode()) <= 16_384
    assert result.content.endswith("bytes left out]")


async def test_no_more_calls_run_at_once_than_a_tool_allows() -> None:
    gate = Gate()
    tool = ScriptedTool(do=gate, concurrency=2)
    runner = runner_of(tool)
    calls = [asyncio.create_task(run(runner, tool)) for _ in range(4)]
    await gate.entered.wait()
    gate.opened.set()
    assert await asyncio.gather(*calls) == [OK] * 4
    assert tool.most == 2


async def test_calls_beyond_those_that_may_wait_are_handed_back_at_once() -> None:
    gate = Gate()
    tool = ScriptedTool(do=gate, concurrency=1)
    runner = runner_of(tool)
    held = [asyncio.create_task(run(runner, tool)) for _ in range(3)]
    await gate.entered.wait()
    assert await run(runner, tool) == Busy()
    gate.opened.set()
    assert await asyncio.gather(*held) == [OK] * 3


async def test_waiting_for_a_place_counts_against_the_timeout() -> None:
    gate = Gate()
    tool = ScriptedTool(do=gate, concurrency=1)
    runner = runner_of(tool)
    held = asyncio.create_task(run(runner, tool))
    await gate.entered.wait()
    assert await run(runner, tool, remaining_s=0.02) == Busy()
    assert len(tool.calls) == 1
    gate.opened.set()
    assert await held == OK


async def test_a_saturated_tool_leaves_others_alone() -> None:
    gate = Gate()
    full, free = ScriptedTool(do=gate, concurrency=1), ScriptedTool(name="free", concurrency=1)
    runner = runner_of(full, free)
    held = [asyncio.create_task(run(runner, full)) for _ in range(3)]
    await gate.entered.wait()
    assert await run(runner, free) == OK
    gate.opened.set()
    await asyncio.gather(*held)


async def test_a_cancelled_call_gives_its_place_back() -> None:
    tool = ScriptedTool(do=hang, concurrency=1)
    runner = runner_of(tool)
    for _ in range(3):
        held = asyncio.create_task(run(runner, tool))
        await started(tool)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    tool.do = None
    assert await run(runner, tool) == OK


async def test_a_tool_that_keeps_failing_rests_and_one_probe_brings_it_back() -> None:
    clock = Clock()
    tool = ScriptedTool(Outcome.TRANSIENT, Outcome.UNKNOWN, Outcome.TRANSIENT)
    runner = runner_of(tool, now=clock)
    for expected in (Outcome.TRANSIENT, Outcome.UNKNOWN):
        assert await outcome(runner, tool) is expected
    resting = await run(runner, tool)
    assert isinstance(resting, ToolResult)
    assert resting.outcome is Outcome.TRANSIENT
    assert "odd is resting" in resting.content
    assert len(tool.calls) == 2
    clock.now += 30.0
    assert await outcome(runner, tool) is Outcome.TRANSIENT  # the probe
    assert await outcome(runner, tool) is Outcome.TRANSIENT
    assert len(tool.calls) == 3
    clock.now += 30.0
    assert await outcome(runner, tool) is Outcome.OK
    assert await outcome(runner, tool) is Outcome.OK


async def test_answers_that_say_no_are_answers() -> None:
    tool = ScriptedTool(*[Outcome.FAILED] * 10, effect=Effect.AT_MOST_ONCE)
    runner = runner_of(tool)
    for _ in range(10):
        assert await outcome(runner, tool) is Outcome.FAILED
    assert len(tool.calls) == 10


async def test_a_run_with_no_time_left_says_nothing_of_the_tool() -> None:
    tool = ScriptedTool(do=hang)
    runner = runner_of(tool)
    for _ in range(4):
        await run(runner, tool, remaining_s=0.001)
    assert len(tool.calls) == 4


async def test_a_cancelled_probe_lets_another_go() -> None:
    clock = Clock()
    tool = ScriptedTool(Outcome.TRANSIENT, Outcome.TRANSIENT)
    runner = runner_of(tool, now=clock)
    await run(runner, tool)
    await run(runner, tool)
    clock.now += 30.0
    tool.do = hang
    probe = asyncio.create_task(run(runner, tool))
    await started(tool)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    tool.do = None
    assert await outcome(runner, tool) is Outcome.OK


async def test_a_probe_that_heeds_no_cancel_keeps_the_tool_from_no_later_one() -> None:
    clock, let_go = Clock(), asyncio.Event()

    async def stubborn(_: ScriptedTool) -> ToolResult:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        return OK

    tool = ScriptedTool(Outcome.TRANSIENT, Outcome.TRANSIENT, timeout_s=2.0)
    runner = runner_of(tool, now=clock)
    await run(runner, tool)
    await run(runner, tool)
    clock.now += 30.0
    tool.do = stubborn
    probe = asyncio.create_task(run(runner, tool))
    await started(tool)
    probe.cancel()
    tool.do = None
    clock.now += 33.0
    try:
        assert await outcome(runner, tool) is Outcome.OK
    finally:
        let_go.set()
        await asyncio.gather(probe, return_exceptions=True)
