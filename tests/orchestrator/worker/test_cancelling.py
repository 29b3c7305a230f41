"""A cancel reaches a run wherever it is, within no heartbeat: the leases here are long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.scripted_models import Turn
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.events import Finished, Interrupted, TextDelta
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import BusyPolicy, RunState, Usage
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec
from orchestrator.domain.work import WorkKind
from orchestrator.ports.tools import ToolSource
from tests.orchestrator.execution.outages import with_outages
from tests.orchestrator.worker.given import TENANT, Times, call, working

LONG = Times(lease_s=600.0)


class Slow(ToolSource):
    """Works until it is cancelled, and may not notice that."""

    def __init__(self, *, effect: Effect = Effect.PURE, stubborn: bool = False) -> None:
        self._spec = ToolSpec(
            ToolSchema("slow", "Works.", {"type": "object"}), effect=effect, timeout_s=60.0
        )
        self._stubborn = stubborn
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = 0
        self.calls = 0

    def specs(self) -> Mapping[str, ToolSpec]:
        return {"slow": self._spec}

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        self.calls += 1
        self.begun.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self._stubborn:
                    raise
        return ToolResult(Outcome.OK, "done")


SLOW = [[call("slow", "{}")], ["ok"]]
WORKER = AgentSpec(tools=("slow",))


async def test_a_run_that_waits_behind_another_ends_at_once() -> None:
    gate = asyncio.Event()
    async with working([["one", gate], ["never"]], times=LONG) as fleet:
        first = await fleet.start("first")
        await fleet.seen(first, TextDelta)
        made = await fleet.state.runs.register(
            TENANT, "second", fingerprint="f", session_id=first.session_id
        )
        second = first.model_copy(
            update={"run_id": made.run_id, "busy_policy": BusyPolicy.ENQUEUE, "input": "second"}
        )
        await fleet.state.runs.submit(advance(second, Submitted()), session_labels={})
        cancelled = await fleet.state.runs.cancel(TENANT, made.run_id)
        gate.set()
        await fleet.ended(first)
    assert cancelled.state is RunState.CANCELLED
    assert len(fleet.model.requests) == 1


async def test_a_cancel_stops_a_running_inference() -> None:
    async with working([["Hel", asyncio.Event()]], times=LONG) as fleet:
        run = await fleet.start("hi")
        await fleet.seen(run, TextDelta)
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
        stopped = fleet.model.stopped
    assert ended.state is RunState.CANCELLED
    assert stopped == 1


async def test_a_run_cancelled_in_mid_stream_pays_for_what_it_took() -> None:
    script: list[Turn] = [
        [call("calculator", '{"expression": "1+1"}')],
        ["one two", asyncio.Event()],
    ]
    async with working(script, times=LONG) as fleet:
        run = await fleet.start("what is 1+1", spec=AgentSpec(tools=("calculator",)))
        await fleet.seen(run, TextDelta)
        (first,) = await fleet.state.runs.steps(TENANT, run.run_id)
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
        *_, last = await fleet.events(run)
        prompt = sum(len(m.content.split()) for m in fleet.model.requests[-1].messages)
        counted = fleet.figure("fleet_tokens_total", model="small", kind="completion")
        (load,) = await fleet.state.runs.loads(WorkKind.REASON)
    second = Usage(prompt_tokens=prompt, completion_tokens=2, cost_micros=prompt + 4)
    assert ended.usage == first.usage + second + Usage(tool_calls=1)
    assert isinstance(last.payload, Finished)
    assert last.payload.usage == ended.usage
    assert counted == ended.usage.completion_tokens
    assert load.served == ended.usage.tokens


async def test_a_run_whose_time_is_up_in_mid_stream_pays_for_what_it_took() -> None:
    async with working([["one two", asyncio.Event()]], times=LONG) as fleet:
        ended = await fleet.ended(await fleet.start("hi", timeout_ms=500))
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"
    assert ended.usage == Usage(prompt_tokens=1, completion_tokens=2, cost_micros=5)


async def test_a_cancel_stops_a_running_tool() -> None:
    slow = Slow()
    async with working(SLOW, tools=[slow], times=LONG) as fleet:
        run = await fleet.start("go", spec=WORKER)
        await slow.begun.wait()
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
    assert ended.state is RunState.CANCELLED
    assert slow.cancelled == 1


async def test_a_cancel_that_nobody_heard_of_is_found_by_the_heartbeat() -> None:
    async with open_memory_state() as state:
        runs = with_outages(state.runs)
        runs.deaf = True
        deaf, times = replace(state, runs=runs), Times(lease_s=0.6)
        async with working([["Hel", asyncio.Event()]], state=deaf, times=times) as fleet:
            run = await fleet.start("hi")
            await fleet.seen(run, TextDelta)
            await fleet.state.runs.cancel(TENANT, run.run_id)
            ended = await fleet.ended(run)
    assert ended.state is RunState.CANCELLED


async def test_a_cancel_ends_an_interrupted_run() -> None:
    spec = AgentSpec(tools=("slow",), approvals=("slow",))
    slow = Slow()
    async with working(SLOW, tools=[slow], times=LONG) as fleet:
        run = await fleet.start("go", spec=spec)
        await fleet.seen(run, Interrupted)
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
    assert ended.state is RunState.CANCELLED
    assert slow.calls == 0


async def test_a_tool_that_ignores_its_cancel_keeps_neither_the_run_nor_the_slot() -> None:
    slow = Slow(stubborn=True)
    times = Times(lease_s=600.0, stubborn_s=0.1)
    async with working(SLOW, tools=[slow], times=times) as fleet:
        try:
            run = await fleet.start("go", spec=WORKER)
            await slow.begun.wait()
            await fleet.state.runs.cancel(TENANT, run.run_id)
            ended = await fleet.ended(run)
            slots = [len(loop) for loop in fleet.loops]
        finally:
            slow.let_go.set()
    assert ended.state is RunState.CANCELLED
    assert slow.cancelled >= 1
    assert slots == [0, 0]
