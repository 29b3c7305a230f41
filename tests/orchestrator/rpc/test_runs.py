from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from orchestrator.domain.events import StepRestarted, TextDelta
from orchestrator.domain.runs import BusyPolicy
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2, sessions_pb2
from tests.orchestrator.adapters.state.given import (
    answer,
    asks_for_tools,
    claim_one,
    claimed,
    tool_result,
)
from tests.orchestrator.rpc.given import TIMEOUT_MS, Fleet, kinds, refusal, until

TENANT = "default"
Event = runs_pb2.RunEvent


def asking(request_id: str = "r1", **fields: object) -> runs_pb2.StartRunRequest:
    return runs_pb2.StartRunRequest(**{"request_id": request_id, "input": "hi", **fields})  # type: ignore[arg-type]


async def started(fleet: Fleet, request_id: str = "r1", **fields: object) -> runs_pb2.Run:
    return (await fleet.runs.StartRun(asking(request_id, **fields))).run


async def work_on(fleet: Fleet, *texts: str, finish: str = "") -> Claim:
    claim = await claim_one(fleet.state)
    await fleet.state.runs.emit(claim.lease, [TextDelta(text=text) for text in texts])
    if finish:
        claim = await fleet.state.runs.refresh(claim)
        await fleet.state.runs.commit(claim, answer(claim, finish))
    return claim


async def watched(fleet: Fleet, run_id: str, after_seq: int) -> list[Event]:
    request = runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq)
    return [event async for event in fleet.runs.WatchRun(request)]


async def test_a_started_run_has_what_was_asked_and_what_the_agent_adds(fleet: Fleet) -> None:
    budget = agents_pb2.Budget(max_steps=7, max_tokens=100)
    spec = agents_pb2.AgentSpec(budget=budget)
    spec.timeout.seconds = 30
    await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name="clerk", spec=spec))
    run = await started(
        fleet,
        agent="clerk",
        budget=agents_pb2.Budget(max_tokens=5),
        priority=1,
        labels={"team": "a"},
    )
    assert run.state == runs_pb2.RUN_STATE_QUEUED
    assert (run.agent, run.priority, dict(run.labels)) == ("clerk@1", 1, {"team": "a"})
    assert (run.budget.max_steps, run.budget.max_tokens) == (7, 5)
    assert run.timeout.seconds == 30
    assert run.create_time.seconds > 0


async def test_a_run_that_nobody_gave_a_timeout_has_the_services(fleet: Fleet) -> None:
    assert (await started(fleet)).timeout.seconds == TIMEOUT_MS // 1000
    run = await started(fleet, "r2", timeout=Duration(seconds=7))
    assert run.timeout.seconds == 7


async def test_the_same_request_twice_is_one_run(fleet: Fleet) -> None:
    first = await fleet.runs.StartRun(asking())
    again = await fleet.runs.StartRun(asking())
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert first.run.run_id == again.run.run_id
    assert len((await fleet.runs.ListRuns(runs_pb2.ListRunsRequest())).runs) == 1


async def test_the_same_requests_at_once_are_one_run(fleet: Fleet) -> None:
    answers = await asyncio.gather(*(fleet.runs.StartRun(asking()) for _ in range(1000)))
    assert len({answer.run.run_id for answer in answers}) == 1
    assert sum(not answer.deduplicated for answer in answers) == 1
    assert len(await claimed(fleet.state, limit=9)) == 1


async def test_a_request_id_with_another_body_already_exists(fleet: Fleet) -> None:
    first = await started(fleet)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.runs.StartRun(asking(labels={"other": "body"}))
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "REQUEST_ID_REUSED",
    )
    assert refused.metadata == {"run_id": first.run_id}


async def test_a_repeated_request_is_the_same_run_after_its_agent_got_a_new_version(
    fleet: Fleet,
) -> None:
    first = await started(fleet)
    spec = agents_pb2.AgentSpec(system_prompt="Another.")
    await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name="assistant", spec=spec))
    again = await fleet.runs.StartRun(asking())
    assert again.deduplicated
    assert again.run == first


async def test_a_refused_request_can_be_sent_again_when_the_session_is_idle(fleet: Fleet) -> None:
    first = await started(fleet)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.runs.StartRun(asking("r2", session_id=first.session_id))
    assert refusal(error.value).reason == "SESSION_BUSY"
    await work_on(fleet, finish="done")
    second = await fleet.runs.StartRun(asking("r2", session_id=first.session_id))
    assert not second.deduplicated
    assert second.run.session_id == first.session_id


async def test_a_busy_session_takes_a_run_that_waits(fleet: Fleet) -> None:
    first = await started(fleet)
    second = await started(
        fleet, "r2", session_id=first.session_id, busy_policy=runs_pb2.BUSY_POLICY_ENQUEUE
    )
    stored = await fleet.state.runs.get(TENANT, second.run_id)
    assert stored.busy_policy is BusyPolicy.ENQUEUE


async def test_a_run_uses_its_sessions_agent(fleet: Fleet) -> None:
    await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name="clerk"))
    session = await fleet.sessions.CreateSession(sessions_pb2.CreateSessionRequest(agent="clerk"))
    run = await started(fleet, session_id=session.session_id)
    assert run.agent == "clerk@1"


async def test_ask_streams_a_snapshot_and_every_event_to_the_last(fleet: Fleet) -> None:
    stream = aiter(fleet.runs.Ask(asking()))
    first = await anext(stream)
    assert (first.seq, first.snapshot.run.state) == (0, runs_pb2.RUN_STATE_QUEUED)
    await work_on(fleet, "Hel", "lo", finish="Hello")
    events = [first, *[event async for event in stream]]
    assert [event.seq for event in events] == list(range(len(events)))
    assert kinds(events) == [
        "snapshot",
        "state_changed",
        "state_changed",
        "text_delta",
        "text_delta",
        "finished",
    ]
    assert events[-1].finished.result == "Hello"
    assert {event.run_id for event in events} == {first.snapshot.run.run_id}


async def test_asking_again_watches_the_same_run(fleet: Fleet) -> None:
    run = await started(fleet)
    await work_on(fleet, finish="Hello")
    events = [event async for event in fleet.runs.Ask(asking())]
    assert {event.run_id for event in events} == {run.run_id}
    assert events[-1].finished.result == "Hello"


async def test_a_watcher_from_the_beginning_gets_everything_after_the_run_ended(
    fleet: Fleet,
) -> None:
    run = await started(fleet)
    await work_on(fleet, "Hello", finish="Hello")
    events = await watched(fleet, run.run_id, 0)
    assert kinds(events)[0] == "snapshot"
    assert (events[0].seq, events[0].snapshot.text) == (0, "")
    assert events[0].snapshot.run.state == runs_pb2.RUN_STATE_COMPLETED
    assert [event.seq for event in events] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("after_seq", [1, 2, 3, 4, 5])
async def test_a_watcher_that_comes_back_gets_the_text_so_far_and_then_the_rest(
    fleet: Fleet, after_seq: int
) -> None:
    run = await started(fleet)
    await work_on(fleet, "a", "b", finish="ab")
    snapshot, *rest = await watched(fleet, run.run_id, after_seq)
    assert snapshot.seq == after_seq
    assert snapshot.snapshot.text == ["", "", "a", "ab", "ab"][after_seq - 1]
    assert [event.seq for event in rest] == list(range(after_seq + 1, 6))


async def test_a_watcher_from_now_gets_the_text_so_far_and_only_what_follows(fleet: Fleet) -> None:
    run = await started(fleet)
    claim = await work_on(fleet, "a", "b")
    request = runs_pb2.WatchRunRequest(run_id=run.run_id, after_seq=-1)
    stream = aiter(fleet.runs.WatchRun(request))
    snapshot = await anext(stream)
    assert (snapshot.seq, snapshot.snapshot.text) == (4, "ab")
    assert snapshot.snapshot.run.state == runs_pb2.RUN_STATE_RUNNING
    await fleet.state.runs.emit(claim.lease, [TextDelta(text="c")])
    await fleet.state.runs.commit(claim, answer(claim, "abc"))
    assert kinds([event async for event in stream]) == ["text_delta", "finished"]


async def test_a_watcher_from_now_on_an_ended_run_gets_the_snapshot_alone(fleet: Fleet) -> None:
    run = await started(fleet)
    await work_on(fleet, finish="Hello")
    (snapshot,) = await watched(fleet, run.run_id, -1)
    assert snapshot.snapshot.run.result == "Hello"


async def test_a_snapshot_has_no_text_of_an_earlier_step(fleet: Fleet) -> None:
    run = await started(fleet)
    claim = await work_on(fleet, "let me see")
    await fleet.state.runs.commit(claim, asks_for_tools(claim))
    for _ in range(2):
        tool = await claim_one(fleet.state, WorkKind.TOOL)
        await fleet.state.runs.commit(tool, tool_result(tool))
    await work_on(fleet, "it is")
    request = runs_pb2.WatchRunRequest(run_id=run.run_id, after_seq=-1)
    snapshot = await fleet.runs.WatchRun(request).read()
    assert isinstance(snapshot, Event)
    assert (snapshot.step, snapshot.snapshot.text) == (2, "it is")


async def test_a_snapshot_has_no_text_of_an_attempt_that_failed(fleet: Fleet) -> None:
    run = await started(fleet)
    claim = await work_on(fleet, "half an ans")
    await fleet.state.runs.emit(claim.lease, [StepRestarted(reason="x"), TextDelta(text="Yes")])
    request = runs_pb2.WatchRunRequest(run_id=run.run_id, after_seq=-1)
    snapshot = await fleet.runs.WatchRun(request).read()
    assert isinstance(snapshot, Event)
    assert snapshot.snapshot.text == "Yes"


async def test_a_place_that_the_run_has_not_reached_is_out_of_range(fleet: Fleet) -> None:
    run = await started(fleet)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await watched(fleet, run.run_id, 99)
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.OUT_OF_RANGE, "SEQ_NOT_REACHED")
    assert refused.metadata == {"last_seq": "1"}


async def test_a_watcher_that_leaves_ends_alone(fleet: Fleet) -> None:
    run = await started(fleet)
    staying = asyncio.ensure_future(watched(fleet, run.run_id, 0))
    leaving = fleet.runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run.run_id))
    await leaving.read()
    leaving.cancel()
    await until(lambda: fleet.registry.get_sample_value("fleet_rpc_open_watches") == 1)
    await work_on(fleet, finish="Hello")
    assert (await staying)[-1].finished.result == "Hello"


async def test_a_run_is_shown_with_its_steps(fleet: Fleet) -> None:
    run = await started(fleet)
    await work_on(fleet, finish="Hello")
    shown = await fleet.runs.GetRun(runs_pb2.GetRunRequest(run_id=run.run_id))
    assert (shown.state, shown.result) == (runs_pb2.RUN_STATE_COMPLETED, "Hello")
    assert [(s.step, s.model) for s in shown.steps] == [(1, "llm_small")]
    assert shown.usage.prompt_tokens == 15


async def test_runs_are_listed_newest_first_page_by_page(fleet: Fleet) -> None:
    made = [(await started(fleet, f"r{i}")).run_id for i in range(5)]
    listed, token = [], ""
    while True:
        page = await fleet.runs.ListRuns(runs_pb2.ListRunsRequest(page_size=2, page_token=token))
        listed += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert listed == made[::-1]
