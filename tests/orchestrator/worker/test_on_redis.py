"""What crosses the executors and the scripts, over Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.scripted_models import Turn
from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.events import Interrupted, StepRestarted, TextDelta
from orchestrator.domain.interrupts import Approved, Denied, InterruptKind
from orchestrator.domain.runs import RunState
from orchestrator.domain.tools import Effect
from orchestrator.ports.state import State
from orchestrator.redis_server import RedisServer
from tests.orchestrator.worker.given import TENANT, Times, call, working
from tests.orchestrator.worker.test_cancelling import SLOW, WORKER, Slow
from tests.orchestrator.worker.test_draining import stop
from tests.orchestrator.worker.test_sub_runs import BOSS, HELPER, Cast, ask, child_of

DATABASE = "/8"  # flushed by each test; the other databases of the server are others'
LONG = Times(lease_s=600.0)


@pytest.fixture
async def state(redis_server: RedisServer) -> AsyncIterator[State]:
    url = redis_server.url.removesuffix("/0") + DATABASE
    async with Redis.from_url(url) as client:
        await client.flushdb()
    async with open_redis_state(url, shards=4) as state:
        yield state


async def test_a_run_with_a_tool_is_answered_in_full_and_in_order(
    state: State,
) -> None:
    script = [[call("calculator", '{"expression": "6 * 7"}')], ["It is ", "42."]]
    async with working(script, state=state) as fleet:
        run = await fleet.start("6 * 7?", spec=AgentSpec(tools=("calculator",)))
        events = await fleet.events(run)
        ended = await fleet.ended(run)
    text = [e.payload.text for e in events if isinstance(e.payload, TextDelta)]
    assert ended.result == "It is 42." == "".join(text)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert [m.content for m in fleet.model.requests[1].messages][-1] == "42"


async def test_children_answer_and_share_the_budget(state: State) -> None:
    two = ask("helper", "a") + ask("helper", "b")
    cast = Cast(boss=[[two], ["done"]], helper=[["1"], ["2"]])
    async with working(cast, state=state) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS, budget=Budget(max_tokens=1_000))
        ended = await fleet.ended(run)
        child = await child_of(fleet, run)
        steps = await state.runs.steps(TENANT, run.run_id)
    assert ended.result == "done"
    assert 0 < child.budget.max_tokens < 500
    assert ended.usage.tokens > sum(step.usage.tokens for step in steps)


async def test_a_cancel_reaches_the_child_and_the_grandchild(state: State) -> None:
    cast = Cast(
        boss=[[ask("helper", "x")]],
        helper=[[ask("intern", "y")]],
        intern=[["work", asyncio.Event()]],
    )
    async with working(cast, state=state, times=LONG) as fleet:
        await fleet.agent("intern", AgentSpec(system_prompt="intern"))
        await fleet.agent("helper", AgentSpec(system_prompt="helper", agents=("intern",)))
        run = await fleet.start("go", spec=BOSS)
        child = await child_of(fleet, run)
        grandchild = await child_of(fleet, child)
        await fleet.seen(grandchild, TextDelta)
        await state.runs.cancel(TENANT, run.run_id)
        ended = [await fleet.ended(each) for each in (run, child, grandchild)]
        stopped = fleet.model.stopped
    assert [each.state for each in ended] == [RunState.CANCELLED] * 3
    assert stopped == 1


async def test_a_cancel_stops_a_running_inference_and_a_running_tool(state: State) -> None:
    slow = Slow()
    script: list[Turn] = [["Hel", asyncio.Event()], SLOW[0]]
    async with working(script, state=state, tools=[slow], times=LONG) as fleet:
        inferring = await fleet.start("hi")
        await fleet.seen(inferring, TextDelta)
        calling = await fleet.start("go", spec=WORKER)
        await slow.begun.wait()
        for run in (inferring, calling):
            await state.runs.cancel(TENANT, run.run_id)
        ended = [await fleet.ended(run) for run in (inferring, calling)]
    assert [run.state for run in ended] == [RunState.CANCELLED] * 2
    assert (fleet.model.stopped, slow.cancelled) == (1, 1)


@pytest.mark.parametrize("approve", [True, False])
async def test_an_approval_and_a_denial_reach_the_model(state: State, approve: bool) -> None:
    slow = Slow()
    slow.let_go.set()
    spec = AgentSpec(tools=("slow",), approvals=("slow",))
    async with working(SLOW, state=state, tools=[slow]) as fleet:
        run = await fleet.start("go", spec=spec)
        asked = await fleet.seen(run, Interrupted)
        await fleet.answer(run, asked.interrupt_id, Approved() if approve else Denied(reason="no"))
        await fleet.ended(run)
        told = fleet.model.requests[-1].messages[-1].content
    assert slow.calls == int(approve)
    assert told == "done" if approve else "denied" in told


async def test_an_unanswered_interrupt_expires(state: State) -> None:
    spec = AgentSpec(tools=("slow",), approvals=("slow",), interrupt_timeout_ms=200)
    async with working(SLOW, state=state, tools=[Slow()]) as fleet:
        ended = await fleet.ended(await fleet.start("go", spec=spec))
        told = fleet.model.requests[-1].messages[-1].content
    assert "nobody answered" in told
    assert ended.state is RunState.COMPLETED


async def test_a_stopped_process_hands_back_what_does_not_end_in_time(state: State) -> None:
    times = Times(lease_s=600.0, grace_s=0.05)
    async with working([["Hel", asyncio.Event()]], state=state, times=times) as first:
        run = await first.start("hi")
        await first.seen(run, TextDelta)
        stop(first)
        await first.stopped()
    async with working([["Hello"]], state=state) as second:
        ended = await second.ended(run)
        events = await second.events(run)
        (step,) = await state.runs.steps(TENANT, run.run_id)
    at = max(i for i, e in enumerate(events) if isinstance(e.payload, StepRestarted))
    again = [e.payload.text for e in events[at:] if isinstance(e.payload, TextDelta)]
    assert ended.result == "Hello" == "".join(again)
    assert step.attempt == 1


async def test_a_call_that_must_not_happen_twice_is_asked_about_after_a_stop(
    state: State,
) -> None:
    slow = Slow(effect=Effect.AT_MOST_ONCE)
    times = Times(lease_s=600.0, grace_s=0.05)
    async with working(SLOW, tools=[slow], state=state, times=times) as first:
        run = await first.start("go", spec=WORKER)
        await slow.begun.wait()
        stop(first)
        await first.stopped()
    async with working(SLOW, tools=[slow], state=state) as second:
        asked = await second.seen(run, Interrupted)
    assert asked.reason is InterruptKind.OUTCOME_UNKNOWN
    assert slow.calls == 1


async def test_a_run_that_waits_for_a_child_ends_at_its_timeout_with_it(state: State) -> None:
    cast = Cast(boss=[[ask("helper", "x")]], helper=[["work", asyncio.Event()]])
    async with working(cast, state=state, times=LONG) as fleet:
        await fleet.agent("helper", HELPER)
        run = await fleet.start("go", spec=BOSS, timeout_ms=500)
        child = await child_of(fleet, run)
        ended, ended_child = await fleet.ended(run), await fleet.ended(child)
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"
    assert ended_child.state in (RunState.CANCELLED, RunState.FAILED)
