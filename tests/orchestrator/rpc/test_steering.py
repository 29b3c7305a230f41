"""CancelRun and ResumeRun, over the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import LeaseState
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import (
    CALLS,
    asks_for_tools,
    child_of,
    claim_one,
    claimed,
    tool_result,
    waits_for,
)
from tests.orchestrator.rpc.given import Fleet, kinds, refusal

Code = grpc.StatusCode
YES = runs_pb2.Approval(approved=True)
NO = runs_pb2.Approval(reason="too expensive")
RESULT = runs_pb2.ToolResult(content="42")
REPLY = runs_pb2.Reply(text="blue")
ALL_KINDS = {
    InterruptKind.APPROVAL: {"approval"},
    InterruptKind.CLIENT_TOOL: {"result", "reply"},
    InterruptKind.REPLY: {"result", "reply"},
    InterruptKind.OUTCOME_UNKNOWN: {"approval", "result", "reply"},
}


async def started(fleet: Fleet, request_id: str = "r1", **fields: Any) -> runs_pb2.Run:
    request = runs_pb2.StartRunRequest(request_id=request_id, input="hi", **fields)
    return (await fleet.runs.StartRun(request)).run


async def asking_run(fleet: Fleet, **gates: InterruptKind) -> runs_pb2.Run:
    """A run whose calls c0 and c1 are open; `gates` says which of them wait for somebody."""
    run = await started(fleet)
    claim = await claim_one(fleet.state)
    await fleet.state.runs.commit(claim, asks_for_tools(claim, gates=gates, ttl_ms=90_000))
    return await shown(fleet, run.run_id)


async def shown(fleet: Fleet, run_id: str) -> runs_pb2.Run:
    return await fleet.runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id))


async def cancelled(fleet: Fleet, run_id: str) -> runs_pb2.Run:
    return await fleet.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run_id))


async def resumed(fleet: Fleet, run: runs_pb2.Run, **answer: Any) -> runs_pb2.Run:
    return await fleet.runs.ResumeRun(
        runs_pb2.ResumeRunRequest(
            run_id=run.run_id, interrupt_id=run.interrupts[0].interrupt_id, **answer
        )
    )


async def refused(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def events_of(fleet: Fleet, run_id: str) -> list[runs_pb2.RunEvent]:
    request = runs_pb2.WatchRunRequest(run_id=run_id)
    return [event async for event in fleet.runs.WatchRun(request)]


async def said_to_the_model(fleet: Fleet, run: runs_pb2.Run, call_id: str) -> str:
    stored = await fleet.state.runs.get("default", run.run_id)
    (content,) = (p.content for p in stored.pending if p.call.call_id == call_id)
    return content or ""


async def test_a_queued_run_that_is_cancelled_is_never_claimed(fleet: Fleet) -> None:
    run = await started(fleet)
    assert (await cancelled(fleet, run.run_id)).state == runs_pb2.RUN_STATE_CANCELLED
    assert await claimed(fleet.state) == ()
    assert kinds(await events_of(fleet, run.run_id))[-1] == "finished"


@pytest.mark.parametrize("kind", WorkKind)
async def test_the_owner_of_a_running_item_is_told_of_the_cancel(
    fleet: Fleet, kind: WorkKind
) -> None:
    run = await started(fleet)
    claim = await claim_one(fleet.state)
    if kind is WorkKind.TOOL:
        await fleet.state.runs.commit(claim, asks_for_tools(claim, CALLS[:1]))
        claim = await claim_one(fleet.state, kind)
    await cancelled(fleet, run.run_id)
    states = await fleet.state.runs.extend([claim.lease], lease_ms=1000)
    assert states[0] in (LeaseState.CANCEL_REQUESTED, LeaseState.LOST)


async def test_an_interrupted_run_is_cancelled_and_takes_no_answer_any_more(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL, c1=InterruptKind.REPLY)
    assert (await cancelled(fleet, run.run_id)).state == runs_pb2.RUN_STATE_CANCELLED
    answered = await refused(resumed(fleet, run, approval=YES))
    assert (answered.code, answered.reason) == (Code.FAILED_PRECONDITION, "RUN_TERMINAL")


async def test_a_cancelled_run_stays_as_it_is_when_it_is_cancelled_again(fleet: Fleet) -> None:
    run = await started(fleet)
    first = await cancelled(fleet, run.run_id)
    assert await cancelled(fleet, run.run_id) == first


async def test_a_cancel_reaches_the_children_and_their_children(fleet: Fleet) -> None:
    run = await started(fleet)
    line = [run.run_id]
    for i in range(2):
        claim = await claim_one(fleet.state)
        await fleet.state.runs.commit(claim, asks_for_tools(claim, CALLS[:1]))
        line.append(await parked(fleet, await claim_one(fleet.state, WorkKind.TOOL), f"child {i}"))
    child = await shown(fleet, line[1])
    assert child.parent_run_id == run.run_id
    assert (await shown(fleet, run.run_id)).pending_calls[0].child_run_id == child.run_id
    await cancelled(fleet, run.run_id)
    for run_id in line:
        assert (await shown(fleet, run_id)).state == runs_pb2.RUN_STATE_CANCELLED
    assert await claimed(fleet.state, WorkKind.TOOL) == ()


async def parked(fleet: Fleet, claim: Claim, text: str) -> str:
    child = await child_of(fleet.state, claim, text)
    await fleet.state.runs.commit(claim, waits_for(child, claim))
    return child.run_id


async def test_a_sub_run_is_an_event_of_its_parent(fleet: Fleet) -> None:
    run = await started(fleet)
    claim = await claim_one(fleet.state)
    await fleet.state.runs.commit(claim, asks_for_tools(claim, CALLS[:1]))
    child = await parked(fleet, await claim_one(fleet.state, WorkKind.TOOL), "child")
    await cancelled(fleet, run.run_id)
    (event,) = (e for e in await events_of(fleet, run.run_id) if e.HasField("sub_run_started"))
    assert (event.sub_run_started.call_id, event.sub_run_started.run_id) == ("c0", child)


async def test_an_interrupt_is_an_event_with_its_end_and_stands_in_the_run(fleet: Fleet) -> None:
    run = await asking_run(fleet, c1=InterruptKind.APPROVAL)
    assert run.state == runs_pb2.RUN_STATE_INTERRUPTED
    (interrupt,) = run.interrupts
    assert interrupt.kind == runs_pb2.INTERRUPT_KIND_APPROVAL
    assert (interrupt.call.call_id, interrupt.call.name) == ("c1", "lookup")
    assert interrupt.timeout.seconds == 90
    assert [p.interrupt_id for p in run.pending_calls] == ["", interrupt.interrupt_id]
    await cancelled(fleet, run.run_id)
    (event,) = (e for e in await events_of(fleet, run.run_id) if e.HasField("interrupted"))
    assert event.interrupted.interrupt_id == interrupt.interrupt_id
    assert event.interrupted.kind == interrupt.kind
    assert event.interrupted.call == interrupt.call
    waits_ms = event.interrupted.expire_time.ToMilliseconds() - event.time.ToMilliseconds()
    assert waits_ms == 90_000


async def test_an_approved_call_is_run(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL, c1=InterruptKind.REPLY)
    after = await resumed(fleet, run, approval=YES)
    assert [i.kind for i in after.interrupts] == [runs_pb2.INTERRUPT_KIND_REPLY]
    claim = await claim_one(fleet.state, WorkKind.TOOL)
    assert claim.lease.item.call == CALLS[0]


async def test_a_denial_is_what_the_model_sees(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL)
    await resumed(fleet, run, approval=NO)
    assert "too expensive" in await said_to_the_model(fleet, run, "c0")
    (claim,) = await claimed(fleet.state, WorkKind.TOOL, limit=9)
    assert claim.lease.item.call == CALLS[1]


@pytest.mark.parametrize(
    ("kind", "answer", "content"),
    [
        (InterruptKind.CLIENT_TOOL, {"result": RESULT}, "42"),
        (InterruptKind.REPLY, {"reply": REPLY}, "blue"),
        (InterruptKind.OUTCOME_UNKNOWN, {"result": RESULT}, "42"),
    ],
)
async def test_an_answer_is_the_calls_result(
    fleet: Fleet, kind: InterruptKind, answer: Any, content: str
) -> None:
    run = await asking_run(fleet, c0=kind)
    await resumed(fleet, run, **answer)
    assert await said_to_the_model(fleet, run, "c0") == content


@pytest.mark.parametrize("kind", InterruptKind)
async def test_an_answer_of_the_wrong_kind_is_refused_and_the_interrupt_waits_on(
    fleet: Fleet, kind: InterruptKind
) -> None:
    run = await asking_run(fleet, c0=kind)
    answers = {"approval": YES, "result": RESULT, "reply": REPLY}
    for name in answers.keys() - ALL_KINDS[kind]:
        answered = await refused(resumed(fleet, run, **{name: answers[name]}))
        assert (answered.code, answered.field) == (Code.INVALID_ARGUMENT, "answer")
        assert kind.value in answered.message
    assert await shown(fleet, run.run_id) == run


async def test_an_interrupt_is_answered_once(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL, c1=InterruptKind.REPLY)
    await resumed(fleet, run, approval=YES)
    again = await refused(resumed(fleet, run, approval=YES))
    assert (again.code, again.reason) == (Code.FAILED_PRECONDITION, "INTERRUPT_NOT_PENDING")


async def test_of_many_answers_at_once_one_counts(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL, c1=InterruptKind.REPLY)
    outcomes = await asyncio.gather(
        *(resumed(fleet, run, approval=YES) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, runs_pb2.Run) for outcome in outcomes) == 1
    assert len(await claimed(fleet.state, WorkKind.TOOL, limit=9)) == 1


async def test_answers_to_two_interrupts_at_once_both_count(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.REPLY, c1=InterruptKind.REPLY)
    await asyncio.gather(
        *(
            fleet.runs.ResumeRun(
                runs_pb2.ResumeRunRequest(
                    run_id=run.run_id, interrupt_id=interrupt.interrupt_id, reply=REPLY
                )
            )
            for interrupt in run.interrupts
        )
    )
    claim = await claim_one(fleet.state)
    assert claim.run.step == 2


async def test_an_answer_counts_although_another_call_of_the_step_ends_meanwhile(
    fleet: Fleet,
) -> None:
    run = await asking_run(fleet, c0=InterruptKind.REPLY)
    claim = await claim_one(fleet.state, WorkKind.TOOL)
    await fleet.state.runs.commit(claim, tool_result(claim))
    after = await resumed(fleet, run, reply=REPLY)
    assert (after.state, after.step) == (runs_pb2.RUN_STATE_RUNNING, 2)


async def test_an_interrupt_of_another_run_is_not_pending(fleet: Fleet) -> None:
    run = await asking_run(fleet, c0=InterruptKind.APPROVAL)
    other = await started(fleet, "r2")
    request = runs_pb2.ResumeRunRequest(
        run_id=other.run_id, interrupt_id=run.interrupts[0].interrupt_id, approval=YES
    )
    answered = await refused(fleet.runs.ResumeRun(request))
    assert answered.reason == "INTERRUPT_NOT_PENDING"
    assert await shown(fleet, run.run_id) == run
