"""Whole runs: a worker and a toolbox over memory state and a scripted model."""

from __future__ import annotations

import asyncio

from orchestrator.adapters.scripted_models import Turn
from orchestrator.domain.agents import AgentSpec, Sampling
from orchestrator.domain.chat import ChatRequest, ToolSchema
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import (
    RouteDecided,
    StepRestarted,
    TextDelta,
    ToolCallFinished,
    ToolCallRequested,
)
from orchestrator.domain.messages import Role
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import RunState
from tests.orchestrator.worker.given import TENANT, Times, call, working

CLERK = AgentSpec(system_prompt="Be brief.", tools=("calculator", "lookup"))
DOWN = Unavailable("the model is down", reason="MODEL_UNAVAILABLE")


async def test_an_answer_is_streamed_committed_and_priced() -> None:
    async with working([["Hel", "lo"]]) as fleet:
        run = await fleet.start("hi there")
        events = await fleet.events(run)
        ended = await fleet.ended(run)
    deltas = [e.payload.text for e in events if isinstance(e.payload, TextDelta)]
    assert "".join(deltas) == "Hello" == ended.result
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert ended.usage.prompt_tokens == 2
    assert ended.usage.cost_micros == 2 * 1 + 1 * 2
    assert ended.model == "small"


async def test_a_tool_is_called_and_its_result_goes_to_the_model() -> None:
    script = [[call("calculator", '{"expression": "437 * 12"}')], ["437 * 12 = 5244."]]
    async with working(script) as fleet:
        run = await fleet.start("What is 437 * 12?", spec=CLERK)
        events = await fleet.events(run)
        messages = await fleet.state.sessions.messages(TENANT, run.session_id)
        steps = await fleet.state.runs.steps(TENANT, run.run_id)
        ended = await fleet.ended(run)
    requested = [e.payload for e in events if isinstance(e.payload, ToolCallRequested)]
    finished = [e.payload for e in events if isinstance(e.payload, ToolCallFinished)]
    assert [r.call.name for r in requested] == ["calculator"]
    assert [(f.ok, f.content) for f in finished] == [(True, "5244")]
    assert [m.role for m in messages] == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]
    assert [m.content for m in fleet.model.requests[1].messages][-1] == "5244"
    assert [step.step for step in steps] == [1, 2]
    assert ended.result == "437 * 12 = 5244."


async def test_calls_of_one_step_join_in_their_order() -> None:
    two = call("calculator", '{"expression": "1 + 1"}') + call(
        "calculator", '{"expression": "2 + 2"}'
    )
    async with working([[two], ["2 and 4"]]) as fleet:
        await fleet.ended(await fleet.start("both?", spec=CLERK))
        tool_messages = [m for m in fleet.model.requests[1].messages if m.role is Role.TOOL]
    assert [m.content for m in tool_messages] == ["2", "4"]
    assert len({m.tool_call_id for m in tool_messages}) == 2


async def test_the_model_sees_the_agents_prompt_tools_and_sampling() -> None:
    spec = CLERK.model_copy(update={"sampling": Sampling(max_tokens=7)})
    async with working([["ok"]]) as fleet:
        await fleet.ended(await fleet.start("hi", spec=spec))
        (request,) = fleet.model.requests
    assert (request.messages[0].role, request.messages[0].content) == (Role.SYSTEM, "Be brief.")
    assert [tool.name for tool in request.tools] == ["calculator", "lookup"]
    assert isinstance(request.tools[0], ToolSchema)
    assert request.sampling.max_tokens == 7


async def test_a_tool_that_the_agent_was_not_given_is_not_run() -> None:
    spec = AgentSpec(tools=("calculator",))
    async with working([[call("lookup", '{"key": "A1042"}')], ["sorry"]]) as fleet:
        run = await fleet.start("my order?", spec=spec)
        events = await fleet.events(run)
    (finished,) = [e.payload for e in events if isinstance(e.payload, ToolCallFinished)]
    assert not finished.ok
    assert "no tool 'lookup'" in finished.content


async def test_a_hard_request_goes_to_the_model_that_can_and_stays_there() -> None:
    hard = Classification(task={}, complexity={"hard": 1.0}, risk={})
    script = [[call("calculator", '{"expression": "1"}')], ["1"]]
    async with working(script, classification=hard) as fleet:
        run = await fleet.start("prove it", spec=CLERK)
        events = await fleet.events(run)
        models = [request.model for request in fleet.model.requests]
    decisions = [e.payload for e in events if isinstance(e.payload, RouteDecided)]
    assert models == ["large", "large"]
    assert len(decisions) == 1
    assert {c.model for c in decisions[0].candidates} == {"small", "large"}


async def test_another_model_answers_while_the_chosen_one_is_down() -> None:
    async with working([[DOWN], ["hello"]]) as fleet:
        ended = await fleet.ended(await fleet.start("hi"))
        models = [request.model for request in fleet.model.requests]
    assert ended.state is RunState.COMPLETED
    assert models == ["small", "large"]


async def test_text_that_was_streamed_before_a_failure_is_declared_void() -> None:
    async with working([["Hel", DOWN], ["Hello"]]) as fleet:
        run = await fleet.start("hi")
        events = await fleet.events(run)
    payloads = [e.payload for e in events]
    restarted = next(i for i, p in enumerate(payloads) if isinstance(p, StepRestarted))
    after = [p.text for p in payloads[restarted:] if isinstance(p, TextDelta)]
    assert "".join(after) == "Hello"


async def test_a_model_that_stays_away_fails_the_run_with_its_reason() -> None:
    async with working(lambda _: [DOWN], times=Times(patience_s=0.0)) as fleet:
        ended = await fleet.ended(await fleet.start("hi"))
    assert ended.state is RunState.FAILED
    assert ended.error is not None
    assert ended.error.reason == "MODEL_UNAVAILABLE"


async def test_a_defect_fails_its_run_in_the_end_without_telling_what_was_said() -> None:
    def turn(request: ChatRequest) -> Turn:
        return [RuntimeError("secret prompt")] if request.messages[-1].content == "hi" else ["fine"]

    async with working(turn) as fleet:
        broken = await fleet.ended(await fleet.start("hi"))
        fine = await fleet.ended(await fleet.start("hi again"))
        letters = (await fleet.state.dead_letters.list(TENANT, limit=10, token="")).items
    assert broken.error is not None
    assert broken.error.reason == "INTERNAL"
    assert "secret" not in broken.error.message
    assert [letter.run_id for letter in letters] == [broken.run_id]
    assert fine.result == "fine"


async def test_a_run_ends_at_its_timeout() -> None:
    async with working([[asyncio.Event()]]) as fleet:
        ended = await fleet.ended(await fleet.start("hi", timeout_ms=2_000))
        stopped = fleet.model.stopped
    assert ended.error is not None
    assert ended.error.reason == "DEADLINE_EXCEEDED"
    assert stopped == 1


async def test_a_step_whose_worker_died_is_run_again_from_its_start() -> None:
    gate = asyncio.Event()
    async with working([["Hel", gate], ["Hello"]], times=Times(lease_s=0.6, grace_s=0.0)) as dying:
        run = await dying.start("hi")
        await dying.seen(run, TextDelta)
        dead = next(t for t in asyncio.all_tasks() if t.get_name() == f"{run.run_id}:1")
        dead.cancel()
        ended = await dying.ended(run)
        events = await dying.events(run)
    assert ended.result == "Hello"
    assert any(isinstance(e.payload, StepRestarted) for e in events)
