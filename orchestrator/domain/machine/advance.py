"""What an event makes of a run."""

from __future__ import annotations

from orchestrator.domain.errors import FailedPrecondition, Internal
from orchestrator.domain.events import Payload, StateChanged, ToolCallRequested
from orchestrator.domain.machine import calls
from orchestrator.domain.machine.ending import charged, exceeded, finish
from orchestrator.domain.machine.inputs import (
    CancelRequested,
    Event,
    Failed,
    InferenceFinished,
    InterruptExpired,
    Resumed,
    Submitted,
    SubRunOpened,
    ToolFinished,
    ToolOutcomeUnknown,
)
from orchestrator.domain.machine.transition import Transition, calling, reasoning
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import PendingCall, Run, RunState, served_tokens, usage_of
from orchestrator.domain.work import WorkItem


def advance(run: Run, event: Event) -> Transition:
    """Returns what `event` makes of `run`.

    Raises:
        FailedPrecondition: RUN_TERMINAL, the run has ended; INTERRUPT_NOT_PENDING.
        InvalidInput: an answer that does not fit its interrupt.
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
            return calls.tool_finished(run, event)
        case SubRunOpened():
            return calls.sub_run_opened(run, event)
        case ToolOutcomeUnknown():
            return calls.outcome_unknown(run, event)
        case Resumed():
            return calls.resumed(run, event)
        case InterruptExpired():
            return calls.interrupt_expired(run, event)
        case Failed():
            return finish(
                charged(run, usage_of(event.calls)),
                RunState.FAILED,
                error=event.error,
                calls=event.calls,
                dead_letter=event.dead_letter,
            )
        case CancelRequested():
            spent = usage_of(event.calls)
            return finish(charged(run, spent), RunState.CANCELLED, calls=event.calls)


def _submitted(run: Run) -> Transition:
    return Transition(
        run=run,
        events=(StateChanged(state=RunState.QUEUED),),
        messages=(Message(role=Role.USER, content=run.input, run_id=run.run_id),),
        enqueue=(reasoning(run),),
    )


def _inference_finished(run: Run, event: InferenceFinished) -> Transition:
    if run.state in (RunState.WAITING_FOR_TOOLS, RunState.INTERRUPTED):
        raise Internal(f"run {run.run_id}: inference finished while {run.state.value}")
    run = charged(run, event.record.usage).model_copy(update={"model": event.record.model})
    message = Message(
        role=Role.ASSISTANT, content=event.text, tool_calls=event.tool_calls, run_id=run.run_id
    )
    if not event.tool_calls:
        return finish(
            run,
            RunState.COMPLETED,
            result=event.text,
            messages=(message,),
            record=event.record,
            calls=event.record.calls,
        )
    over = exceeded(run)
    if over is not None:
        return finish(
            run, RunState.FAILED, error=over, record=event.record, calls=event.record.calls
        )
    return _calls_opened(run, event, message)


def _calls_opened(run: Run, event: InferenceFinished, message: Message) -> Transition:
    pending: list[PendingCall] = []
    items: list[WorkItem] = []
    events: list[Payload] = [ToolCallRequested(call=call) for call in event.tool_calls]
    for call in event.tool_calls:
        gate = event.gates.get(call.call_id)
        opened, said, delay_ms = calls.opened(run, call, gate, event.interrupt_ttl_ms)
        pending.append(opened)
        events += said
        items.append(calling(run, call, delay_ms=delay_ms))
    waits = any(p.interrupt for p in pending)
    state = RunState.INTERRUPTED if waits else RunState.WAITING_FOR_TOOLS
    return Transition(
        run=run.model_copy(update={"state": state, "pending": tuple(pending)}),
        events=(*events, StateChanged(state=state)),
        messages=(message,),
        enqueue=tuple(items),
        record=event.record,
        charge=served_tokens(event.record.calls),
        calls=event.record.calls,
    )
