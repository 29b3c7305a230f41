"""Calls that a person, or the caller, has to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping

from orchestrator.domain.agents import AgentSpec, ClientTool
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.events import Interrupted, ToolCallFinished
from orchestrator.domain.interrupts import Answered, Approved, Denied, InterruptKind
from orchestrator.domain.messages import Role, ToolCall
from orchestrator.domain.runs import RunState
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec
from orchestrator.ports.tools import ToolSource
from tests.orchestrator.worker.given import Fleet, Times, call, working

PAY = call("pay", '{"amount": 5}')
PATH = {"type": "object", "properties": {"path": {"type": "string"}}}
READ_FILE = ClientTool(name="read_file", description="Reads.", parameters_json=json.dumps(PATH))


class Till(ToolSource):
    """Counts what it is paid."""

    def __init__(self, *, needs_approval: bool = False) -> None:
        schema = {"type": "object", "properties": {"amount": {"type": "integer"}}}
        self._spec = ToolSpec(ToolSchema("pay", "Pays.", schema), needs_approval=needs_approval)
        self.paid: list[str] = []

    def specs(self) -> Mapping[str, ToolSpec]:
        return {"pay": self._spec}

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        self.paid.append(call.arguments_json)
        return ToolResult(Outcome.OK, "paid")


def told(fleet: Fleet) -> list[str]:
    """The tool results that the model saw last."""
    return [m.content for m in fleet.model.requests[-1].messages if m.role is Role.TOOL]


async def test_a_call_that_the_agent_wants_approved_is_run_only_after_that() -> None:
    till = Till()
    spec = AgentSpec(tools=("pay",), approvals=("pay",))
    async with working([[PAY], ["done"]], tools=[till]) as fleet:
        run = await fleet.start("pay 5", spec=spec)
        asked = await fleet.seen(run, Interrupted)
        before = list(till.paid)
        waiting = await fleet.now(run)
        await fleet.answer(run, asked.interrupt_id, Approved())
        ended = await fleet.ended(run)
    assert asked.reason is InterruptKind.APPROVAL
    assert (asked.call.name, asked.ttl_ms) == ("pay", 60_000)
    assert waiting.state is RunState.INTERRUPTED
    assert (before, till.paid) == ([], ['{"amount": 5}'])
    assert ended.result == "done"


async def test_a_tool_can_itself_ask_for_approval() -> None:
    till = Till(needs_approval=True)
    async with working([[PAY], ["done"]], tools=[till]) as fleet:
        run = await fleet.start("pay 5", spec=AgentSpec(tools=("pay",)))
        asked = await fleet.seen(run, Interrupted)
        assert not till.paid
        await fleet.answer(run, asked.interrupt_id, Approved())
        await fleet.ended(run)
    assert till.paid


async def test_a_denial_is_an_answer_that_the_model_sees() -> None:
    till = Till()
    spec = AgentSpec(tools=("pay",), approvals=("pay",))
    async with working([[PAY], ["I did not pay."]], tools=[till]) as fleet:
        run = await fleet.start("pay 5", spec=spec)
        asked = await fleet.seen(run, Interrupted)
        await fleet.answer(run, asked.interrupt_id, Denied(reason="too much"))
        ended = await fleet.ended(run)
        (result,) = told(fleet)
    assert not till.paid
    assert "too much" in json.loads(result)["error"]
    assert ended.result == "I did not pay."


async def test_an_interrupt_that_nobody_answers_is_an_error_that_the_model_sees() -> None:
    till = Till()
    spec = AgentSpec(tools=("pay",), approvals=("pay",), interrupt_timeout_ms=150)
    async with working([[PAY], ["nobody was there"]], tools=[till]) as fleet:
        run = await fleet.start("pay 5", spec=spec)
        ended = await fleet.ended(run)
        asked = await fleet.seen(run, Interrupted)
        (result,) = told(fleet)
    assert asked.ttl_ms == 150
    assert not till.paid
    assert "nobody answered" in result
    assert ended.state is RunState.COMPLETED


async def test_the_services_time_to_answer_holds_where_the_agent_names_none() -> None:
    spec = AgentSpec(tools=("pay",), approvals=("pay",))
    times = Times(interrupt_s=0.15)
    async with working([[PAY], ["nobody"]], tools=[Till()], times=times) as fleet:
        ended = await fleet.ended(await fleet.start("pay 5", spec=spec))
    assert ended.result == "nobody"


async def test_the_caller_runs_its_own_tools() -> None:
    spec = AgentSpec(client_tools=(READ_FILE,))
    script = [[call("read_file", '{"path": "a.txt"}')], ["it says hello"]]
    async with working(script) as fleet:
        run = await fleet.start("read", spec=spec)
        asked = await fleet.seen(run, Interrupted)
        await fleet.answer(run, asked.interrupt_id, Answered(content="hello"))
        await fleet.ended(run)
        shown = fleet.model.requests[0].tools
        results = told(fleet)
    assert asked.reason is InterruptKind.CLIENT_TOOL
    assert [(t.name, t.parameters) for t in shown] == [("read_file", PATH)]
    assert results == ["hello"]


async def test_the_model_may_ask_the_person_where_its_agent_may() -> None:
    script = [[call("ask_person", '{"question": "which city?"}')], ["Sunny in Rome."]]
    async with working(script) as fleet:
        run = await fleet.start("weather?", spec=AgentSpec(tools=("ask_person",)))
        asked = await fleet.seen(run, Interrupted)
        await fleet.answer(run, asked.interrupt_id, Answered(content="Rome"))
        ended = await fleet.ended(run)
        results = told(fleet)
    assert asked.reason is InterruptKind.REPLY
    assert json.loads(asked.call.arguments_json) == {"question": "which city?"}
    assert results == ["Rome"]
    assert ended.result == "Sunny in Rome."


async def test_a_call_of_the_same_step_that_needs_nobody_is_run_meanwhile() -> None:
    both = call("calculator", '{"expression": "6 * 7"}') + PAY
    spec = AgentSpec(tools=("calculator", "pay"), approvals=("pay",))
    async with working([[both], ["ok"]], tools=[Till()]) as fleet:
        run = await fleet.start("both", spec=spec)
        finished = await fleet.seen(run, ToolCallFinished)
        asked = await fleet.seen(run, Interrupted)
        waiting = await fleet.now(run)
        await fleet.answer(run, asked.interrupt_id, Approved())
        await fleet.ended(run)
        results = told(fleet)
    assert finished.content == "42"
    assert waiting.state is RunState.INTERRUPTED
    assert results == ["42", "paid"]


async def test_a_call_is_not_run_unapproved_because_its_worker_did_not_know_the_tool() -> None:
    till = Till(needs_approval=True)
    spec = AgentSpec(tools=("pay",))
    async with working([[PAY], ["no"]], tools=[till], seen_by_worker=[]) as fleet:
        await fleet.ended(await fleet.start("pay 5", spec=spec))
        (result,) = told(fleet)
    assert not till.paid
    assert "needs an approval" in result


async def test_a_bad_call_of_a_caller_s_tool_is_answered_to_the_model_and_not_asked() -> None:
    spec = AgentSpec(client_tools=(READ_FILE,))
    script = [
        [call("read_file", '{"path": 7}') + call("read_file", '{"path": "a.txt"}')],
        ["it says hello"],
    ]
    async with working(script) as fleet:
        run = await fleet.start("read", spec=spec)
        asked = await fleet.seen(run, Interrupted)
        refused = await fleet.seen(run, ToolCallFinished)
        await fleet.answer(run, asked.interrupt_id, Answered(content="hello"))
        events = [event.payload for event in await fleet.events(run)]
        results = told(fleet)
    assert asked.call.arguments_json == '{"path": "a.txt"}'
    assert sum(isinstance(payload, Interrupted) for payload in events) == 1
    assert (refused.ok, refused.name) == (False, "read_file")
    assert json.loads(results[0]) == {"error": "arguments.path: 7 is not of type 'string'"}
    assert results[1] == "hello"


async def test_a_person_is_not_asked_nothing() -> None:
    script = [[call("ask_person", "{}")], ["Never mind."]]
    async with working(script) as fleet:
        ended = await fleet.ended(
            await fleet.start("weather?", spec=AgentSpec(tools=("ask_person",)))
        )
        (result,) = told(fleet)
    assert "'question' is a required property" in json.loads(result)["error"]
    assert ended.result == "Never mind."
