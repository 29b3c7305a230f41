"""A caller that answers what its run asks, while it follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.client import Answer, CallError, FleetClient
from orchestrator.client.interrupts import run_tool
from orchestrator.domain.events import TextDelta
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import State
from orchestrator.rpc.pb.fleet.v1 import runs_pb2, sessions_pb2
from tests.orchestrator.adapters.state.given import answer, asks_for_tools
from tests.orchestrator.rpc.given import Fleet, kinds, serving, serving_over

ADD = ToolCall(call_id="c0", name="add", arguments_json='{"a": 40, "b": 2}')
CLIENT_TOOL = {"c0": InterruptKind.CLIENT_TOOL}
APPROVAL = {"c0": InterruptKind.APPROVAL}
REPLY = {"c0": InterruptKind.REPLY}


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with serving() as running:
        yield running


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[FleetClient]:
    async with FleetClient.open(f"127.0.0.1:{fleet.server.port}") as opened:
        yield opened


async def claim(state: State, kind: WorkKind = WorkKind.REASON) -> Claim:
    async with asyncio.timeout(10):
        while True:
            claims = await state.runs.claim(kind, worker="w", limit=1, lease_ms=60_000)
            if claims:
                return claims[0]
            await state.runs.wait_for_work(kind, timeout_s=1.0)


async def work(state: State, gates: dict[str, InterruptKind], call: ToolCall = ADD) -> str:
    """Asks for the call, and answers the question with what the call gave."""
    first = await claim(state)
    await state.runs.commit(first, asks_for_tools(first, (call,), gates=gates))
    second = await claim(state)
    messages = await state.sessions.messages(second.run.tenant, second.run.session_id)
    result = messages[-1].content
    await state.runs.commit(second, answer(second, f"it is {result}"))
    return result


def question(request_id: str = "r1") -> runs_pb2.StartRunRequest:
    return runs_pb2.StartRunRequest(request_id=request_id, input="hi")


async def asked(client: FleetClient, **answers: Any) -> list[runs_pb2.RunEvent]:
    return [event async for event in client.ask(question(), **answers)]


async def test_a_callers_function_is_the_result_of_its_tool(
    fleet: Fleet, client: FleetClient
) -> None:
    async def slowly(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    for i, add in enumerate((lambda a, b: a + b, slowly)):
        working = asyncio.ensure_future(work(fleet.state, CLIENT_TOOL))
        events = [event async for event in client.ask(question(f"r{i}"), tools={"add": add})]
        assert await working == "42"
        assert events[-1].finished.result == "it is 42"
        assert [event.seq for event in events] == list(range(len(events)))


async def test_a_function_that_raises_tells_the_model(fleet: Fleet, client: FleetClient) -> None:
    def broken(a: int, b: int) -> int:
        raise ValueError("no numbers today")

    working = asyncio.ensure_future(work(fleet.state, CLIENT_TOOL))
    events = await asked(client, tools={"add": broken})
    assert await working == '{"error": "ValueError: no numbers today"}'
    (done,) = (e.tool_call_finished for e in events if e.HasField("tool_call_finished"))
    assert not done.ok


@pytest.mark.parametrize(
    ("arguments", "returned", "ok", "content"),
    [
        ("{}", "text", True, "text"),
        ("{}", "", True, '""'),
        ("{}", None, True, "null"),
        ("{}", {"a": 1}, True, '{"a": 1}'),
        ("{}", {1, 2}, False, "TypeError"),
        ('{"a": 1}', "text", False, "TypeError"),
        ("[]", "text", False, "TypeError"),
        ("{", "text", False, "JSONDecodeError"),
    ],
)
async def test_what_a_function_returns_is_text_or_json_or_an_error(
    arguments: str, returned: object, ok: bool, content: str
) -> None:
    call = sessions_pb2.ToolCall(call_id="c", name="f", arguments_json=arguments)
    result = await run_tool(lambda: returned, call)
    assert result.is_error is not ok
    assert content in result.content


@pytest.mark.parametrize("says", [True, False])
async def test_approve_decides_whether_the_call_is_run(
    fleet: Fleet, client: FleetClient, says: bool
) -> None:
    seen: list[str] = []

    def approve(interrupt: runs_pb2.Interrupted) -> bool:
        seen.append(interrupt.call.arguments_json)
        return says

    async def run_it() -> bool:
        first = await claim(fleet.state)
        await fleet.state.runs.commit(first, asks_for_tools(first, (ADD,), gates=APPROVAL))
        kind = WorkKind.TOOL if says else WorkKind.REASON
        approved = (await claim(fleet.state, kind)).run.pending
        await client.cancel(first.run.run_id)
        return any(call.approved for call in approved)

    working = asyncio.ensure_future(run_it())
    following = asyncio.ensure_future(asked(client, approve=approve))
    assert await working is says
    assert seen == [ADD.arguments_json]
    following.cancel()


async def test_what_nothing_else_covers_is_asked_of_on_interrupt(
    fleet: Fleet, client: FleetClient
) -> None:
    async def reply(interrupt: runs_pb2.Interrupted) -> Answer | None:
        assert interrupt.kind == runs_pb2.INTERRUPT_KIND_REPLY
        return runs_pb2.Reply(text="blue")

    working = asyncio.ensure_future(work(fleet.state, REPLY))
    events = await asked(client, on_interrupt=reply)
    assert await working == "blue"
    assert kinds(events)[-1] == "finished"


async def test_an_old_interrupt_that_is_seen_again_runs_nothing(
    fleet: Fleet, client: FleetClient
) -> None:
    calls: list[int] = []

    def add(a: int, b: int) -> int:
        calls.append(a)
        return a + b

    working = asyncio.ensure_future(work(fleet.state, CLIENT_TOOL))
    await asked(client, tools={"add": add})
    await working
    again = await asked(client, tools={"add": add})
    assert kinds(again).count("interrupted") == 1
    assert calls == [40]


async def test_an_answer_that_somebody_gave_first_is_no_error(
    fleet: Fleet, client: FleetClient
) -> None:
    async def too_late(interrupt: runs_pb2.Interrupted) -> Answer | None:
        run = (await client.runs()).runs[0]
        await client.resume(run.run_id, interrupt.interrupt_id, runs_pb2.Reply(text="first"))
        return runs_pb2.Reply(text="second")

    working = asyncio.ensure_future(work(fleet.state, REPLY))
    events = await asked(client, on_interrupt=too_late)
    assert await working == "first"
    assert kinds(events)[-1] == "finished"


async def test_an_answer_that_is_refused_ends_the_question(
    fleet: Fleet, client: FleetClient
) -> None:
    async def wrong(interrupt: runs_pb2.Interrupted) -> Answer | None:
        return runs_pb2.Approval(approved=True)

    working = asyncio.ensure_future(work(fleet.state, REPLY))
    with pytest.raises(CallError) as error:
        await asked(client, on_interrupt=wrong)
    assert error.value.code is grpc.StatusCode.INVALID_ARGUMENT
    working.cancel()


async def test_a_tool_goes_on_while_the_api_is_replaced() -> None:
    went_away = asyncio.Event()

    async def add(a: int, b: int) -> int:
        await went_away.wait()
        return a + b

    async with open_memory_state() as state, serving_over(state) as first:
        port = first.server.port
        async with FleetClient.open(f"127.0.0.1:{port}") as client:
            following = asyncio.ensure_future(asked(client, tools={"add": add}))
            question_ = await claim(state)
            await state.runs.commit(question_, asks_for_tools(question_, (ADD,), gates=CLIENT_TOOL))
            await first.server.stop(0)
            went_away.set()
            async with serving_over(state, address=f"127.0.0.1:{port}"):
                second = await claim(state)
                await state.runs.emit(second.lease, [TextDelta(text="42")])
                await state.runs.commit(second, answer(second, "42"))
                events = await following
    assert [event.seq for event in events] == list(range(len(events)))
    assert events[-1].finished.result == "42"
