from __future__ import annotations

from typing import Any

import grpc
import pytest

from orchestrator.domain.machine import Failed, advance
from orchestrator.domain.runs import RunError
from orchestrator.rpc.pb.fleet.v1 import dead_letters_pb2, runs_pb2, sessions_pb2
from tests.orchestrator.adapters.state.given import claim_one
from tests.orchestrator.rpc.given import Fleet, refusal

Entry = dead_letters_pb2.DeadLetter
ERROR = RunError(reason="MODEL_UNAVAILABLE", message="it was in vain")


async def buried(fleet: Fleet, request_id: str = "r1", **fields: Any) -> runs_pb2.Run:
    """A run that failed with a dead letter."""
    request = runs_pb2.StartRunRequest(request_id=request_id, input="hi", **fields)
    run = (await fleet.runs.StartRun(request)).run
    claim = await claim_one(fleet.state)
    await fleet.state.runs.commit(claim, advance(claim.run, Failed(ERROR, dead_letter=True)))
    return run


async def listed(fleet: Fleet, **fields: Any) -> dead_letters_pb2.ListDeadLettersResponse:
    return await fleet.dead_letters.ListDeadLetters(
        dead_letters_pb2.ListDeadLettersRequest(**fields)
    )


async def redriven(fleet: Fleet, entry: Entry) -> dead_letters_pb2.RedriveDeadLetterResponse:
    request = dead_letters_pb2.RedriveDeadLetterRequest(entry_id=entry.entry_id)
    return await fleet.dead_letters.RedriveDeadLetter(request)


async def purged(fleet: Fleet, **fields: Any) -> int:
    request = dead_letters_pb2.PurgeDeadLettersRequest(**fields)
    return (await fleet.dead_letters.PurgeDeadLetters(request)).removed


async def test_what_failed_in_vain_is_listed_newest_first_page_by_page(fleet: Fleet) -> None:
    made = [(await buried(fleet, f"r{i}")).run_id for i in range(5)]
    found, token = [], ""
    while True:
        page = await listed(fleet, page_size=2, page_token=token)
        found += [entry.run_id for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]


async def test_an_entry_says_what_failed_and_why(fleet: Fleet) -> None:
    run = await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    request = dead_letters_pb2.GetDeadLetterRequest(entry_id=entry.entry_id)
    assert await fleet.dead_letters.GetDeadLetter(request) == entry
    assert (entry.run_id, entry.session_id, entry.agent) == (run.run_id, run.session_id, run.agent)
    assert (entry.reason, entry.message) == (ERROR.reason, ERROR.message)
    assert (entry.item_key, entry.step, entry.attempts) == (f"{run.run_id}:1", 1, 1)
    assert entry.time.seconds > 0


async def test_a_redriven_entry_is_a_new_run_as_the_first_was_and_the_entry_goes(
    fleet: Fleet,
) -> None:
    asked: dict[str, Any] = {"priority": 1, "labels": {f"k{i}": "v" for i in range(32)}}
    asked["output_schema_json"] = '{"type": "boolean"}'
    first = await buried(fleet, budget={"max_tokens": 7}, **asked)
    (entry,) = (await listed(fleet)).entries
    again = await redriven(fleet, entry)
    assert not again.deduplicated
    run = again.run
    assert run.run_id != first.run_id
    same = ("session_id", "agent", "budget", "timeout", "priority", "output_schema_json")
    for field in same:
        assert getattr(run, field) == getattr(first, field)
    assert dict(run.labels) == {**first.labels, "redrive_of": first.run_id}
    assert (await claim_one(fleet.state)).run.input == "hi"
    assert not (await listed(fleet)).entries


async def test_a_redrive_that_was_cut_off_before_its_end_starts_no_second_run(
    fleet: Fleet,
) -> None:
    first = await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    # As a replica that died between its two steps left it: the run started, the entry there.
    cut_off = runs_pb2.StartRunRequest(
        request_id=f"redrive:{entry.entry_id}",
        input="hi",
        session_id=first.session_id,
        agent=first.agent,
        labels={"redrive_of": first.run_id},
        timeout=first.timeout,
        budget=first.budget,
    )
    run = (await fleet.runs.StartRun(cut_off)).run
    again = await redriven(fleet, entry)
    assert (again.run.run_id, again.deduplicated) == (run.run_id, True)
    assert not (await listed(fleet)).entries


async def test_a_redrive_after_the_redrive_returns_the_same_run(fleet: Fleet) -> None:
    await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    first = await redriven(fleet, entry)
    again = await redriven(fleet, entry)
    assert (again.run.run_id, again.deduplicated) == (first.run.run_id, True)
    assert len((await fleet.runs.ListRuns(runs_pb2.ListRunsRequest())).runs) == 2


async def test_an_entry_that_was_purged_can_not_be_redriven(fleet: Fleet) -> None:
    first = await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    busy = runs_pb2.StartRunRequest(request_id="r2", input="hi", session_id=first.session_id)
    await fleet.runs.StartRun(busy)
    with pytest.raises(grpc.aio.AioRpcError):
        await redriven(fleet, entry)  # refused: what it began must not look like a run
    await purged(fleet, all=True)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await redriven(fleet, entry)
    assert refusal(error.value).code is grpc.StatusCode.NOT_FOUND
    assert entry.entry_id in refusal(error.value).message


async def test_a_run_that_only_has_the_request_id_of_a_redrive_is_none(fleet: Fleet) -> None:
    await fleet.runs.StartRun(runs_pb2.StartRunRequest(request_id="redrive:mine", input="hi"))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await redriven(fleet, Entry(entry_id="mine"))
    assert refusal(error.value).code is grpc.StatusCode.NOT_FOUND


async def test_an_entry_whose_new_run_was_deleted_is_not_found(fleet: Fleet) -> None:
    await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    again = await redriven(fleet, entry)
    await fleet.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=again.run.run_id))
    await fleet.sessions.DeleteSession(
        sessions_pb2.DeleteSessionRequest(session_id=again.run.session_id)
    )
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await redriven(fleet, entry)
    assert refusal(error.value).code is grpc.StatusCode.NOT_FOUND
    assert entry.entry_id in refusal(error.value).message


async def test_an_entry_stays_when_its_session_is_busy(fleet: Fleet) -> None:
    first = await buried(fleet)
    (entry,) = (await listed(fleet)).entries
    request = runs_pb2.StartRunRequest(request_id="r2", input="hi", session_id=first.session_id)
    await fleet.runs.StartRun(request)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await redriven(fleet, entry)
    assert refusal(error.value).reason == "SESSION_BUSY"
    assert list((await listed(fleet)).entries) == [entry]


async def test_named_entries_are_purged_and_the_rest_stays(fleet: Fleet) -> None:
    for i in range(3):
        await buried(fleet, f"r{i}")
    ids = [entry.entry_id for entry in (await listed(fleet)).entries]
    assert await purged(fleet, entry_ids=[ids[1], "gone"]) == 1
    assert [entry.entry_id for entry in (await listed(fleet)).entries] == [ids[0], ids[2]]
    assert await purged(fleet, entry_ids=[ids[1]]) == 0


async def test_all_entries_are_purged_at_once(fleet: Fleet) -> None:
    for i in range(3):
        await buried(fleet, f"r{i}")
    assert await purged(fleet, all=True) == 3
    assert not (await listed(fleet)).entries
