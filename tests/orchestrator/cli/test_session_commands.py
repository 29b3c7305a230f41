"""`fleet sessions`."""

from __future__ import annotations

import json
import uuid

from orchestrator.domain.messages import ToolCall
from orchestrator.domain.work import WorkKind
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import answer, asks_for_tools, claim_one, tool_result
from tests.orchestrator.cli.terminal import fleet_command
from tests.orchestrator.rpc.given import Fleet

CALL = ToolCall(call_id="c0", name="calculator", arguments_json='{"n": "\x1b[2J"}')


async def asked(fleet: Fleet, text: str, session_id: str = "") -> runs_pb2.Run:
    request = runs_pb2.StartRunRequest(
        request_id=uuid.uuid4().hex, input=text, session_id=session_id
    )
    return (await fleet.runs.StartRun(request)).run


async def talked(fleet: Fleet) -> str:
    """A session with a question, a tool call and an answer."""
    run = await asked(fleet, "What is\n1 + 1?")
    first = await claim_one(fleet.state)
    await fleet.state.runs.commit(first, asks_for_tools(first, (CALL,)))
    called = await claim_one(fleet.state, WorkKind.TOOL)
    await fleet.state.runs.commit(called, tool_result(called))
    second = await claim_one(fleet.state)
    await fleet.state.runs.commit(second, answer(second, "Two."))
    return run.session_id


async def test_a_conversation_is_shown_with_its_tool_calls(fleet: Fleet, address: str) -> None:
    session_id = await talked(fleet)
    shown = await fleet_command(address, "sessions", "show", session_id)
    assert shown.code == 0
    assert shown.err == f"{session_id} · 4 messages · agent assistant\n"
    user, more, call, tool, said = shown.out.splitlines()
    assert (user, more) == ("user: What is", "  1 + 1?")
    assert call == r'assistant → calculator {"n": "\x1b[2J"}'
    assert tool.startswith("tool calculator: ")
    assert said == "assistant: Two."


async def test_a_long_conversation_is_shown_whole(fleet: Fleet, address: str) -> None:
    session_id = (await asked(fleet, "0")).session_id
    for i in range(1, 31):
        claim = await claim_one(fleet.state)
        await fleet.state.runs.commit(claim, answer(claim, f"answer {i}"))
        await asked(fleet, str(i), session_id)
    shown = await fleet_command(address, "sessions", "show", session_id, "--json")
    messages = [json.loads(line) for line in shown.out.splitlines()]
    assert [int(message.get("index", 0)) for message in messages] == list(range(61))
    assert shown.err == ""


async def test_sessions_are_listed_newest_first_with_their_active_run(
    fleet: Fleet, address: str
) -> None:
    none = await fleet_command(address, "sessions", "list")
    assert (none.code, none.out, none.err) == (0, "", "no sessions\n")
    older = await talked(fleet)
    active = await asked(fleet, "hi")
    listed = await fleet_command(address, "sessions", "list")
    _, first, second = listed.out.splitlines()
    assert first.split()[:4] == [active.session_id, "1", "assistant", active.run_id]
    assert second.split()[:4] == [older, "4", "assistant", "-"]
    as_json = await fleet_command(address, "sessions", "list", "--json")
    ids = [json.loads(line)["session_id"] for line in as_json.out.splitlines()]
    assert ids == [active.session_id, older]


async def test_a_limit_above_a_page_is_read_page_by_page(fleet: Fleet, address: str) -> None:
    for i in range(503):
        await fleet.state.sessions.create("default", agent=f"a{i}", labels={})
    listed = await fleet_command(address, "sessions", "list", "--json", "--limit", "502")
    assert len({json.loads(line)["session_id"] for line in listed.out.splitlines()}) == 502
    assert listed.err == "there are more than 502: --limit shows more\n"
    everything = await fleet_command(address, "sessions", "list", "--json", "--limit", "600")
    assert (len(everything.out.splitlines()), everything.err) == (503, "")


async def test_a_fork_has_the_messages_and_an_id_of_its_own(fleet: Fleet, address: str) -> None:
    session_id = await talked(fleet)
    forked = await fleet_command(address, "sessions", "fork", session_id)
    new_id = forked.out.strip()
    assert (forked.code, new_id != session_id) == (0, True)
    assert len(await fleet.state.sessions.messages("default", new_id)) == 4
    as_json = await fleet_command(address, "sessions", "fork", new_id, "--json")
    assert json.loads(as_json.out)["message_count"] == "4"


async def test_sessions_are_deleted_and_those_that_can_not_be_are_named(
    fleet: Fleet, address: str
) -> None:
    done, busy = await talked(fleet), await asked(fleet, "hi")
    ended = await fleet_command(address, "sessions", "delete", done, busy.session_id, "nope")
    assert (ended.code, ended.out) == (2, f"deleted {done}\n")
    refused, unknown = ended.err.splitlines()
    assert refused.startswith(f"{busy.session_id}: fleet: session {busy.session_id} has the active")
    assert refused.endswith("[SESSION_BUSY]")
    assert unknown.startswith("nope: fleet: session_id 'nope' is not an id")
    again = await fleet_command(address, "sessions", "show", done)
    assert (again.code, again.err) == (2, f"fleet: there is no session {done} [NOT_FOUND]\n")
