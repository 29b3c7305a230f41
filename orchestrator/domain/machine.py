"""The run's state machine: `advance(run, event) -> Transition`, a pure function.

    QUEUED ─claimed─▶ RUNNING ─text─▶ COMPLETED
                       ▲   └─tool calls─▶ WAITING_FOR_TOOLS
                       └────last result────────┘
    any of them ─failed, cancelled─▶ FAILED, CANCELLED

A transition says what to write; the store writes all of it or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.errors import FailedPrecondition, Internal
from orchestrator.domain.events import (
    Finished,
    Payload,
    StateChanged,
    ToolCallFinished,
    ToolCallRequested,
)
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.runs import PendingCall, Run, RunError, RunState, StepRecord, Usage
from orchestrator.domain.work import WorkItem, WorkKind


@dataclass(frozen=True, slots=True)
class Submitted:
    """The run was accepted."""


@dataclass(frozen=True, slots=True)
class InferenceFinished:
    """The model's turn of the current step ended."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    record: StepRecord


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call ended, well or with an error that the model is shown."""

    call_id: str
    ok: bool
    content: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The run can't go on."""

    error: RunError
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The caller no longer wants the run."""


Event = Submitted | InferenceFinished | ToolFinished | Failed | CancelRequested


@dataclass(frozen=True, slots=True)
class Transition:
    """What one event changes, to be written at once.

    `run` is the new state, `events` what watchers see, `messages` what the
    session gains, `enqueue` the work that follows, `record` the step's result,
    `charge` the tokens the tenant is charged in the fair queue.
    """

    run: Run
    events: tuple[Payload, ...] = ()
    messages: tuple[Message, ...] = ()
    enqueue: tuple[WorkItem, ...] = ()
    record: StepRecord | None = None
    charge: int = 0


def advance(run: Run, event: Event) -> Transition:
    """Returns what `event` makes of `run`.

    Raises:
        FailedPrecondition: RUN_TERMINAL, the run has ended.
        Internal: the event does not fit the state (a defect of the caller).
    """
    if run.state.terminal:
        raise FailedPrecondition(
            f"run {run.run_id} has already {run.state.value}", reason="RUN_TERMINAL"
        )
    match event:
        case Submitted():
            return _submitted(run)
        case InferenceFinished():
            return _inference_finished(run, event)
        case ToolFinished():
            return _tool_finished(run, event)
        case Failed():
            return _finish(
                _charged(run, event.usage), RunState.FAILED, error=event.error, charge=event.usage
            )
        case CancelRequested():
            return _finish(run, RunState.CANCELLED)


def _submitted(run: Run) -> Transition:
    return Transition(
        run=run,
        events=(StateChanged(state=RunState.QUEUED),),
        messages=(Message(role=Role.USER, content=run.input, run_id=run.run_id),),
        enqueue=(WorkItem(kind=WorkKind.REASON, run_id=run.run_id, step=run.step),),
    )


def _inference_finished(run: Run, event: InferenceFinished) -> Transition:
    if run.state in (RunState.WAITING_FOR_TOOLS, RunState.INTERRUPTED):
        raise Internal(f"run {run.run_id}: inference finished while {run.state.value}")
    run = _charged(run, event.record.usage).model_copy(update={"model": event.record.model})
    message = Message(
        role=Role.ASSISTANT, content=event.text, tool_calls=event.tool_calls, run_id=run.run_id
    )
    if not event.tool_calls:
        return _finish(
            run,
            RunState.COMPLETED,
            result=event.text,
            messages=(message,),
            record=event.record,
            charge=event.record.usage,
        )
    exceeded = _exceeded(run)
    if exceeded is not None:
        return _finish(
            run, RunState.FAILED, error=exceeded, record=event.record, charge=event.record.usage
        )
    return Transition(
        run=run.model_copy(
            update={
                "state": RunState.WAITING_FOR_TOOLS,
                "pending": tuple(PendingCall(call=call) for call in event.tool_calls),
            }
        ),
        events=(
            *(ToolCallRequested(call=call) for call in event.tool_calls),
            StateChanged(state=RunState.WAITING_FOR_TOOLS),
        ),
        messages=(message,),
        enqueue=tuple(
            WorkItem(kind=WorkKind.TOOL, run_id=run.run_id, step=run.step, call=call)
            for call in event.tool_calls
        ),
        record=event.record,
        charge=event.record.usage.tokens,
    )


def _tool_finished(run: Run, event: ToolFinished) -> Transition:
    """Joins: the last result appends all of them, in the order of the calls."""
    names = {p.call.call_id: p.call.name for p in run.pending if p.content is None}
    if event.call_id not in names:
        raise Internal(f"run {run.run_id}: no open call {event.call_id}")
    finished = ToolCallFinished(
        call_id=event.call_id,
        name=names[event.call_id],
        ok=event.ok,
        content=event.content,
        duration_ms=event.duration_ms,
    )
    pending = tuple(
        p.model_copy(update={"content": event.content}) if p.call.call_id == event.call_id else p
        for p in run.pending
    )
    usage = run.usage + Usage(tool_calls=1)
    if any(p.content is None for p in pending):
        return Transition(
            run=run.model_copy(update={"pending": pending, "usage": usage}), events=(finished,)
        )
    step = run.step + 1
    return Transition(
        run=run.model_copy(
            update={"state": RunState.RUNNING, "pending": (), "usage": usage, "step": step}
        ),
        events=(finished, StateChanged(state=RunState.RUNNING)),
        messages=_tool_messages(run.model_copy(update={"pending": pending})),
        enqueue=(WorkItem(kind=WorkKind.REASON, run_id=run.run_id, step=step),),
    )


def _tool_messages(run: Run, missing: str = "") -> tuple[Message, ...]:
    """The results of the step's calls, in the order of the calls: models insist on one each."""
    return tuple(
        Message(
            role=Role.TOOL,
            content=missing if p.content is None else p.content,
            tool_call_id=p.call.call_id,
            name=p.call.name,
            run_id=run.run_id,
        )
        for p in run.pending
    )


def _finish(
    run: Run,
    state: RunState,
    *,
    result: str = "",
    error: RunError | None = None,
    messages: tuple[Message, ...] = (),
    record: StepRecord | None = None,
    charge: Usage | None = None,
) -> Transition:
    unanswered = _tool_messages(run, missing='{"error": "the run ended before the tool answered"}')
    ended = run.model_copy(update={"state": state, "pending": (), "result": result, "error": error})
    return Transition(
        run=ended,
        events=(Finished(state=state, result=result, error=error, usage=ended.usage),),
        messages=(*unanswered, *messages),
        record=record,
        charge=charge.tokens if charge else 0,
    )


def _charged(run: Run, usage: Usage) -> Run:
    return run.model_copy(update={"usage": run.usage + usage})


def _exceeded(run: Run) -> RunError | None:
    """Says which budget a further step would break."""
    budget, usage = run.budget, run.usage
    for name, limit, used in (
        ("max_steps", budget.max_steps, run.step),
        ("max_tokens", budget.max_tokens, usage.tokens),
        ("max_cost_micros", budget.max_cost_micros, usage.cost_micros),
    ):
        if limit and used >= limit:
            return RunError(
                reason="BUDGET", message=f"the run has used {used} of budget.{name} = {limit}"
            )
    return None
