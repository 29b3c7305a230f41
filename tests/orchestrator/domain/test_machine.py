from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.agents import Budget
from orchestrator.domain.errors import FailedPrecondition, Internal
from orchestrator.domain.events import Finished, StateChanged, ToolCallRequested
from orchestrator.domain.machine import (
    CancelRequested,
    Failed,
    InferenceFinished,
    Submitted,
    ToolFinished,
    Transition,
    advance,
)
from orchestrator.domain.messages import Role, ToolCall
from orchestrator.domain.runs import ModelCall, Run, RunError, RunState, StepRecord, Usage
from orchestrator.domain.work import WorkKind

RUN = Run(run_id="run_00_a", tenant="acme", session_id="ses_00_a", agent="assistant@1", input="hi")
USAGE = Usage(prompt_tokens=10, completion_tokens=5, cost_micros=3)
CALL = ModelCall(model="m", usage=USAGE)
CALLS = tuple(ToolCall(call_id=f"c{i}", name="calculator", arguments_json="{}") for i in range(3))


def record(run: Run) -> StepRecord:
    return StepRecord(step=run.step, attempt=1, model="m", finish_reason="stop", calls=(CALL,))


def answer(run: Run, text: str = "", calls: tuple[ToolCall, ...] = ()) -> Transition:
    return advance(run, InferenceFinished(text=text, tool_calls=calls, record=record(run)))


def test_a_submitted_run_appends_its_input_and_queues_its_first_step() -> None:
    moved = advance(RUN, Submitted())
    assert [(m.role, m.content) for m in moved.messages] == [(Role.USER, "hi")]
    assert [(w.kind, w.step) for w in moved.enqueue] == [(WorkKind.REASON, 1)]
    assert moved.events == (StateChanged(state=RunState.QUEUED),)


def test_text_completes_the_run_and_charges_its_tokens() -> None:
    moved = answer(RUN, "hello")
    assert (moved.run.state, moved.run.result) == (RunState.COMPLETED, "hello")
    assert moved.charge == 15
    assert isinstance(moved.events[-1], Finished)
    assert moved.enqueue == ()


def test_tool_calls_are_queued_each_and_wait_for_their_results() -> None:
    moved = answer(RUN, calls=CALLS)
    assert moved.run.state is RunState.WAITING_FOR_TOOLS
    assert [w.call for w in moved.enqueue] == list(CALLS)
    assert [e.call for e in moved.events if isinstance(e, ToolCallRequested)] == list(CALLS)


@given(st.permutations(CALLS))
def test_results_join_in_the_order_of_the_calls_however_they_arrive(
    arrival: list[ToolCall],
) -> None:
    run = answer(RUN, calls=CALLS).run
    for call in arrival[:-1]:
        moved = advance(run, ToolFinished(call.call_id, True, call.call_id, 1.0))
        assert moved.messages == ()
        assert moved.enqueue == ()
        run = moved.run
    last = advance(run, ToolFinished(arrival[-1].call_id, True, arrival[-1].call_id, 1.0))
    assert [m.content for m in last.messages] == ["c0", "c1", "c2"]
    assert [(w.kind, w.step) for w in last.enqueue] == [(WorkKind.REASON, 2)]
    assert last.run.usage.tool_calls == 3


def test_a_result_that_nobody_waits_for_is_a_defect() -> None:
    run = answer(RUN, calls=CALLS[:2]).run
    done = advance(run, ToolFinished("c0", True, "1", 1.0)).run
    with pytest.raises(Internal, match="no open call c0"):
        advance(done, ToolFinished("c0", True, "again", 1.0))


def test_a_run_that_ended_takes_no_event() -> None:
    ended = answer(RUN, "bye").run
    with pytest.raises(FailedPrecondition) as caught:
        advance(ended, CancelRequested())
    assert caught.value.reason == "RUN_TERMINAL"


def test_a_cancelled_run_still_answers_its_open_calls_in_the_session() -> None:
    run = answer(RUN, calls=CALLS[:2]).run
    run = advance(run, ToolFinished("c1", True, "42", 1.0)).run
    moved = advance(run, CancelRequested())
    assert moved.run.state is RunState.CANCELLED
    assert [m.tool_call_id for m in moved.messages] == ["c0", "c1"]
    assert moved.messages[1].content == "42"
    assert "error" in moved.messages[0].content


def test_a_failure_says_why_and_keeps_what_was_used() -> None:
    moved = advance(RUN, Failed(RunError(reason="MODEL_UNAVAILABLE", message="down"), (CALL,)))
    assert moved.run.error == RunError(reason="MODEL_UNAVAILABLE", message="down")
    assert moved.run.usage == USAGE


@pytest.mark.parametrize(
    "budget",
    [Budget(max_steps=1), Budget(max_tokens=15), Budget(max_cost_micros=3)],
    ids=["steps", "tokens", "cost"],
)
def test_a_spent_budget_ends_the_run_before_another_step(budget: Budget) -> None:
    moved = answer(RUN.model_copy(update={"budget": budget}), calls=CALLS)
    assert moved.run.state is RunState.FAILED
    assert moved.run.error is not None
    assert moved.run.error.reason == "BUDGET"
    assert moved.enqueue == ()


@pytest.mark.parametrize("budget", [Budget(max_steps=2), Budget(max_tokens=16)])
def test_a_budget_that_is_not_spent_allows_the_next_step(budget: Budget) -> None:
    moved = answer(RUN.model_copy(update={"budget": budget}), calls=CALLS)
    assert moved.run.state is RunState.WAITING_FOR_TOOLS
