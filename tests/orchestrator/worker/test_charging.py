"""What a step took is charged once, however it ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import DeadlineExceeded, InvalidInput, Unavailable
from orchestrator.domain.events import StepRestarted
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import Run, RunState, Usage
from orchestrator.worker.repair import SAID_NOTHING
from tests.orchestrator.execution.outages import with_outages
from tests.orchestrator.worker.given import TENANT, Fleet, Times, working

BROKEN = "<tool_call>{oops}</tool_call>"
CLERK = AgentSpec(tools=("calculator",))
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"total": {"type": "integer"}}}
COUNTER = AgentSpec(output_schema_json=json.dumps(SCHEMA))
LATE = DeadlineExceeded("small did not answer in time")


def asked(fleet: Fleet) -> int:
    """Tokens of all prompts."""
    return sum(len(m.content.split()) for r in fleet.model.requests for m in r.messages)


def counted(fleet: Fleet, model: str = "small") -> tuple[float, float]:
    prompt = fleet.figure("fleet_tokens_total", model=model, kind="prompt")
    return prompt, fleet.figure("fleet_tokens_total", model=model, kind="completion")


def reason(ended: Run) -> str:
    return ended.error.reason if ended.error else ""


REPAIRED = pytest.mark.parametrize(
    ("spec", "first"), [(CLERK, BROKEN), (COUNTER, "one")], ids=["tool call", "schema"]
)


@REPAIRED
async def test_a_run_cancelled_in_a_repair_pays_for_both_turns(spec: AgentSpec, first: str) -> None:
    gate = asyncio.Event()

    def script(_: object) -> Turn:
        again = len(fleet.model.requests) > 1
        if again:
            gate.set()
        return ["a b ", asyncio.Event()] if again else [first]

    async with working(script) as fleet:
        run = await fleet.start("1 + 1", spec=spec)
        await gate.wait()
        await fleet.state.runs.cancel(TENANT, run.run_id)
        ended = await fleet.ended(run)
        prompts, figures = asked(fleet), counted(fleet)
    assert ended.state is RunState.CANCELLED
    assert (ended.usage.prompt_tokens, ended.usage.completion_tokens) == (prompts, 3)
    assert figures == (prompts, 3)


@REPAIRED
async def test_a_model_that_is_too_late_in_a_repair_ends_a_run_that_pays_for_both_turns(
    spec: AgentSpec, first: str
) -> None:
    async with working([[first], ["a b", LATE]]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=spec))
        prompts, figures = asked(fleet), counted(fleet)
    assert reason(ended) == "DEADLINE_EXCEEDED"
    assert (ended.usage.prompt_tokens, ended.usage.completion_tokens) == (prompts, 3)
    assert figures == (prompts, 3)


@REPAIRED
async def test_a_lease_lost_in_a_repair_writes_and_charges_nothing(
    spec: AgentSpec, first: str
) -> None:
    async with open_memory_state() as inner:
        runs = with_outages(inner.runs)

        def script(_: object) -> Turn:
            match len(fleet.model.requests):
                case 1:
                    return [first]
                case 2:
                    runs.away.add("extend")
                    return ["a b ", asyncio.Event()]
            runs.away.clear()
            return ['{"total": 2}']

        state = replace(inner, runs=runs)
        async with working(script, state=state, times=Times(lease_s=0.6)) as fleet:
            run = await fleet.start("1 + 1", spec=spec)
            events = await fleet.events(run)
            ended = await fleet.now(run)
            *_, last = fleet.model.requests
            (step,) = await fleet.state.runs.steps(TENANT, run.run_id)
    prompt = sum(len(m.content.split()) for m in last.messages)
    assert ended.state is RunState.COMPLETED
    assert (ended.usage.prompt_tokens, ended.usage.completion_tokens) == (prompt, 2)
    assert (step.attempt, step.usage) == (2, ended.usage)
    assert [e.attempt for e in events if isinstance(e.payload, StepRestarted)] == [1, 2]


async def test_a_model_that_is_too_late_is_paid_for_what_it_wrote() -> None:
    async with working([["a b", LATE]]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1"))
    assert reason(ended) == "DEADLINE_EXCEEDED"
    assert ended.usage == Usage(prompt_tokens=3, completion_tokens=2, cost_micros=7)


async def test_a_model_that_refuses_is_not_paid() -> None:
    async with working([[InvalidInput("small refuses the request")]]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1"))
    assert reason(ended) == "INVALID_FIELD"
    assert ended.usage == Usage()


@REPAIRED
async def test_the_tokens_of_a_run_that_is_given_up_are_counted(
    spec: AgentSpec, first: str
) -> None:
    async with working([[first], [first]]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=spec))
        figures = counted(fleet)
    assert reason(ended) in ("MALFORMED_TOOL_CALL", "INVALID_OUTPUT")
    assert figures == (ended.usage.prompt_tokens, 2)


async def test_each_models_tokens_are_counted_as_its_own() -> None:
    down = Unavailable("away", reason="MODEL_UNAVAILABLE")
    async with working([["one"], [down], ['{"total": 2}']]) as fleet:
        ended = await fleet.ended(await fleet.start("1 + 1", spec=COUNTER))
        first, _, last = fleet.model.requests
        figures = counted(fleet, "small"), counted(fleet, "large")
    prompts = [sum(len(m.content.split()) for m in r.messages) for r in (first, last)]
    assert (first.model, last.model) == ("small", "large")
    assert figures == ((prompts[0], 1), (prompts[1], 2))
    assert ended.usage.tokens == sum(prompts) + 3


async def test_a_long_conversation_is_fitted_in_few_tries_beside_a_long_schema() -> None:
    schema = {**SCHEMA, "description": "word " * 600}
    spec = AgentSpec(output_schema_json=json.dumps(schema))
    model = ScriptedLanguageModel([["one"]] * 5 + [['{"total": 2}']], context_tokens=700)
    async with working(model) as fleet:
        run = await fleet.start("a b c d e f g h " * 5, spec=AgentSpec())
        await fleet.ended(run)
        for _ in range(4):
            more = await fleet.start(
                "a b c d e f g h " * 5, spec=AgentSpec(), session_id=run.session_id
            )
            await fleet.ended(more)
        last = await fleet.start("1 + 1", spec=spec, session_id=run.session_id, agent="counter")
        ended = await fleet.ended(last)
    assert ended.result == '{"total":2}'
    assert len(fleet.model.refused) <= 2


async def test_a_model_that_wrote_nothing_is_asked_again_in_turn() -> None:
    async with working([[" "], ['{"total": 2}']]) as fleet:
        run = await fleet.start("1 + 1", spec=COUNTER)
        events = await fleet.events(run)
        _, second = fleet.model.requests
    roles = [message.role for message in second.messages]
    assert roles == [Role.USER, Role.ASSISTANT, Role.USER]
    assert second.messages[1] == Message(role=Role.ASSISTANT, content=SAID_NOTHING)
    assert [e.payload.reason for e in events if isinstance(e.payload, StepRestarted)] == [
        "INVALID_OUTPUT"
    ]
