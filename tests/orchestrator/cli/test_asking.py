"""`fleet ask` and the runs that wait for an answer."""

from __future__ import annotations

import asyncio
import shlex

import pytest

from orchestrator.domain.agents import Budget
from orchestrator.domain.events import TextDelta
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import answer, asks_for_tools, tool_result
from tests.orchestrator.cli.terminal import AtTerminal, claim, fleet_command
from tests.orchestrator.rpc.given import Fleet

CALL = ToolCall(call_id="c0", name="refund", arguments_json='{"order": "A1042"}')
QUESTION = ToolCall(call_id="c0", name="ask_person", arguments_json='{"question": "Which one?"}')


async def interrupted(
    fleet: Fleet, kind: InterruptKind = InterruptKind.APPROVAL, call: ToolCall = CALL
) -> Claim:
    """Has the next run wait for an answer."""
    first = await claim(fleet.state)
    await fleet.state.runs.commit(first, asks_for_tools(first, (call,), gates={"c0": kind}))
    return first


async def finish(fleet: Fleet) -> None:
    second = await claim(fleet.state)
    await fleet.state.runs.emit(second.lease, [TextDelta(text="all done")])
    await fleet.state.runs.commit(second, answer(second, "all done"))


async def state_of(fleet: Fleet, run_id: str) -> RunState:
    return (await fleet.state.runs.get("default", run_id)).state


async def test_without_a_terminal_it_says_how_to_answer_and_leaves_the_run_waiting(
    fleet: Fleet, address: str
) -> None:
    asking = asyncio.ensure_future(fleet_command(address, "ask", "hi"))
    run_id = (await interrupted(fleet)).run.run_id
    ended = await asking
    assert ended.code == 4
    assert run_id in ended.err
    assert '"order": "A1042"' in ended.err
    assert await state_of(fleet, run_id) is RunState.INTERRUPTED
    (command,) = (line for line in ended.err.splitlines() if "--approve" in line)
    answered = await fleet_command(address, *shlex.split(command)[1:])
    assert (answered.code, answered.err.splitlines()[0]) == (
        0,
        f"follow it with: fleet runs watch {run_id} --after -1",
    )
    called = await claim(fleet.state, WorkKind.TOOL)
    await fleet.state.runs.commit(called, tool_result(called))
    await finish(fleet)
    watched = await fleet_command(address, "runs", "watch", run_id)
    assert (watched.code, watched.out) == (0, "all done\n")


async def test_at_a_terminal_an_approval_is_asked_and_a_yes_runs_the_call(
    fleet: Fleet, address: str
) -> None:
    asking = await AtTerminal.start(address, "ask", "hi")
    await interrupted(fleet)
    await asking.shows("run it? [y/N] ")
    assert 'refund {"order": "A1042"}' in asking.err
    asking.types("y\n")
    called = await claim(fleet.state, WorkKind.TOOL)
    await fleet.state.runs.commit(called, tool_result(called))
    await finish(fleet)
    ended = await asking.ends()
    assert (ended.code, ended.out) == (0, "all done\n")


@pytest.mark.parametrize("typed", ["n\n", "\n", "yellow\n"])
async def test_anything_but_a_yes_is_a_denial(fleet: Fleet, address: str, typed: str) -> None:
    asking = await AtTerminal.start(address, "ask", "hi")
    run = (await interrupted(fleet)).run
    await asking.shows("run it? [y/N] ")
    asking.types(typed)
    await finish(fleet)
    assert (await asking.ends()).code == 0
    messages = await fleet.state.sessions.messages("default", run.session_id)
    assert any("a person denied it" in message.content for message in messages)


async def test_at_a_terminal_the_models_question_takes_a_reply(fleet: Fleet, address: str) -> None:
    asking = await AtTerminal.start(address, "ask", "hi")
    run = (await interrupted(fleet, InterruptKind.REPLY, QUESTION)).run
    await asking.shows("? Which one?\n  reply: ")
    asking.types("the blue one\n")
    await finish(fleet)
    assert (await asking.ends()).code == 0
    messages = await fleet.state.sessions.messages("default", run.session_id)
    assert "the blue one" in [message.content for message in messages]


async def test_what_a_model_writes_can_not_draw_on_the_terminal(fleet: Fleet, address: str) -> None:
    evil = CALL.model_copy(update={"arguments_json": '{"a": "\x1b[2J\u202e"}'})
    asking = await AtTerminal.start(address, "ask", "hi")
    await interrupted(fleet, call=evil)
    await asking.shows("run it? [y/N] ")
    assert "\x1b[2J" not in asking.err
    assert "\u202e" not in asking.err
    asking.types("n\n")
    await finish(fleet)
    await asking.ends()


async def test_ctrl_c_cancels_the_run_also_while_something_is_asked(
    fleet: Fleet, address: str
) -> None:
    asking = await AtTerminal.start(address, "ask", "hi")
    run_id = (await interrupted(fleet)).run.run_id
    await asking.shows("run it? [y/N] ")
    asking.interrupts()
    ended = await asking.ends()
    assert ended.code == 130
    assert f"run {run_id} is cancelled" in ended.err
    assert await state_of(fleet, run_id) is RunState.CANCELLED


async def test_a_second_ctrl_c_leaves_a_run_that_does_not_end_yet(
    fleet: Fleet, address: str
) -> None:
    asking = await AtTerminal.start(address, "ask", "hi")
    held = await claim(fleet.state)  # its worker ends it when it hears of the cancel
    await fleet.state.runs.emit(held.lease, [TextDelta(text="one\n")])
    assert await asking.process.stdout.readline() == b"one\n"
    asking.interrupts()
    await asking.shows("Ctrl-C again leaves it")
    asking.interrupts()
    ended = await asking.ends()
    assert ended.code == 130
    assert f"fleet runs cancel {held.run.run_id}" in ended.err


async def test_what_the_options_say_is_what_the_run_is_given(fleet: Fleet, address: str) -> None:
    budget = ("--max-steps", "3", "--max-tokens", "500", "--max-cost", "0.002")
    asking = asyncio.ensure_future(
        fleet_command(address, "ask", "hi", "--timeout", "1.5", "--when-busy", "enqueue", *budget)
    )
    first = await claim(fleet.state)
    await fleet.state.runs.commit(first, answer(first, "hello"))
    ended = await asking
    assert ended.code == 0
    assert "· 1 step ·" in ended.err
    run = await fleet.state.runs.get("default", first.run.run_id)
    assert run.busy_policy is BusyPolicy.ENQUEUE
    assert run.timeout_ms == 1500
    assert run.budget == Budget(max_steps=3, max_tokens=500, max_cost_micros=2000)


async def test_a_busy_session_is_refused_unless_the_run_may_wait(
    fleet: Fleet, address: str
) -> None:
    request = runs_pb2.StartRunRequest(request_id="r1", input="first")
    run = (await fleet.runs.StartRun(request)).run
    again = ("ask", "second", "--session", run.session_id)
    refused = await fleet_command(address, *again)
    assert (refused.code, refused.out) == (2, "")
    assert f"has the active run {run.run_id}; --when-busy enqueue waits" in refused.err
    waiting = asyncio.ensure_future(fleet_command(address, *again, "--when-busy", "enqueue"))
    listing = runs_pb2.ListRunsRequest()
    async with asyncio.timeout(30):
        while len((await fleet.runs.ListRuns(listing)).runs) < 2:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    for _ in range(2):
        held = await claim(fleet.state)
        await fleet.state.runs.emit(held.lease, [TextDelta(text=f"to {held.run.input}")])
        await fleet.state.runs.commit(held, answer(held))
    ended = await waiting
    assert (ended.code, ended.out) == (0, "to second\n")
