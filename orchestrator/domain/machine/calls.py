"""The tool calls of a step: run, answered by somebody outside, joined."""

from __future__ import annotations

import json
from dataclasses import replace

from orchestrator.domain.errors import FailedPrecondition, Internal, InvalidInput
from orchestrator.domain.events import (
    Interrupted,
    Payload,
    StateChanged,
    SubRunStarted,
    ToolCallFinished,
)
from orchestrator.domain.interrupts import (
    ANSWERS,
    Answered,
    Approved,
    Denied,
    Interrupt,
    InterruptKind,
    interrupt_id,
)
from orchestrator.domain.machine.ending import charged, exceeded, finish, tool_messages
from orchestrator.domain.machine.inputs import (
    InterruptExpired,
    Resumed,
    SubRunOpened,
    ToolFinished,
    ToolOutcomeUnknown,
)
from orchestrator.domain.machine.transition import Transition, calling, reasoning
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import PendingCall, Run, RunState, Usage


def opened(
    run: Run, call: ToolCall, kind: InterruptKind | None, ttl_ms: int
) -> tuple[PendingCall, tuple[Payload, ...], int]:
    """Returns a new call, its events and how long its item is delayed."""
    pending = PendingCall(call=call)
    if kind is None:
        return pending, (), 0
    asked = _asked(run, pending, kind, ttl_ms)
    return asked, (_interrupted(asked),), ttl_ms


def tool_finished(run: Run, event: ToolFinished) -> Transition:
    pending = _open_call(run, event.call_id)
    finished = ToolCallFinished(
        call_id=event.call_id,
        name=pending.call.name,
        ok=event.ok,
        content=event.content,
        duration_ms=event.duration_ms,
    )
    handed = run.model_copy(update={"agent": event.handover}) if event.handover else run
    moved = _answered(charged(handed, event.usage), pending, finished)
    return replace(moved, session_agent=event.handover)


def sub_run_opened(run: Run, event: SubRunOpened) -> Transition:
    pending = _open_call(run, event.call_id)
    if pending.child_run_id == event.child_run_id:
        return Transition(run=run, parked_on=event.child_run_id)
    linked = pending.model_copy(update={"child_run_id": event.child_run_id})
    started = SubRunStarted(call_id=event.call_id, run_id=event.child_run_id, agent=event.agent)
    return Transition(run=_with(run, linked), events=(started,), parked_on=event.child_run_id)


def outcome_unknown(run: Run, event: ToolOutcomeUnknown) -> Transition:
    pending = _open_call(run, event.call_id)
    asked = _asked(
        run, pending, InterruptKind.OUTCOME_UNKNOWN, event.interrupt_ttl_ms, event.detail
    )
    moved = _settled(_with(run, asked))
    return Transition(
        run=moved,
        events=(_interrupted(asked), *_changed(run, moved)),
        enqueue=(calling(moved, asked.call, delay_ms=event.interrupt_ttl_ms),),
    )


def interrupt_expired(run: Run, event: InterruptExpired) -> Transition:
    pending = _open_call(run, event.call_id)
    if pending.interrupt is None:
        raise _not_pending(run, f"call {event.call_id}")
    said = f"nobody answered the {pending.interrupt.kind.value} in time"
    return _told(run, pending, ok=False, content=_error(said))


def resumed(run: Run, event: Resumed) -> Transition:
    """Raises InvalidInput for an answer of the wrong kind, FailedPrecondition
    INTERRUPT_NOT_PENDING when the interrupt was answered, has expired or never was.
    """
    pending = next(
        (p for p in run.pending if p.interrupt and p.interrupt.interrupt_id == event.interrupt_id),
        None,
    )
    if pending is None or pending.interrupt is None:
        raise _not_pending(run, f"interrupt {event.interrupt_id[:60]!r}")
    kind, answer = pending.interrupt.kind, event.answer
    if not isinstance(answer, ANSWERS[kind]):
        right = " or ".join(_NAMES[each] for each in ANSWERS[kind])
        raise InvalidInput(
            f"an interrupt of kind {kind.value} takes {right}, not {_NAMES[type(answer)]}",
            field="answer",
        )
    match answer:
        case Approved():
            return _approved(run, pending)
        case Denied():
            why = f": {answer.reason}" if answer.reason else ""
            moved = _told(run, pending, ok=False, content=_error(f"a person denied it{why}"))
        case Answered():
            moved = _told(run, pending, ok=answer.ok, content=answer.content)
    return replace(moved, drop=(calling(run, pending.call).key, *moved.drop))


_NAMES = {Approved: "an approval", Denied: "a denial", Answered: "a result or reply"}


def _approved(run: Run, pending: PendingCall) -> Transition:
    moved = _settled(_with(run, pending.model_copy(update={"interrupt": None, "approved": True})))
    return Transition(
        run=moved, events=_changed(run, moved), enqueue=(calling(moved, pending.call),)
    )


def _told(run: Run, pending: PendingCall, *, ok: bool, content: str) -> Transition:
    """The call is answered without having been run."""
    finished = ToolCallFinished(
        call_id=pending.call.call_id, name=pending.call.name, ok=ok, content=content
    )
    return _answered(run, pending, finished)


def _answered(run: Run, pending: PendingCall, finished: ToolCallFinished) -> Transition:
    """Joins: the last result appends all of them, in the order of the calls."""
    done = pending.model_copy(update={"content": finished.content, "interrupt": None})
    joined = charged(_with(run, done), Usage(tool_calls=1))
    if any(p.content is None for p in joined.pending):
        moved = _settled(joined)
        return Transition(run=moved, events=(finished, *_changed(run, moved)))
    over = exceeded(joined)
    if over is not None:
        ended = finish(joined, RunState.FAILED, error=over)
        return replace(ended, events=(finished, *ended.events))
    following = joined.model_copy(
        update={"state": RunState.RUNNING, "pending": (), "step": run.step + 1}
    )
    return Transition(
        run=following,
        events=(finished, StateChanged(state=RunState.RUNNING)),
        messages=tool_messages(joined),
        enqueue=(reasoning(following),),
    )


def _open_call(run: Run, call_id: str) -> PendingCall:
    for pending in run.pending:
        if pending.call.call_id == call_id and pending.content is None:
            return pending
    raise Internal(f"run {run.run_id}: no open call {call_id}")


def _with(run: Run, changed: PendingCall) -> Run:
    pending = tuple(changed if p.call.call_id == changed.call.call_id else p for p in run.pending)
    return run.model_copy(update={"pending": pending})


def _settled(run: Run) -> Run:
    """Gives a run with open calls the state that they mean."""
    waits = any(p.interrupt for p in run.pending)
    state = RunState.INTERRUPTED if waits else RunState.WAITING_FOR_TOOLS
    return run.model_copy(update={"state": state})


def _changed(before: Run, after: Run) -> tuple[Payload, ...]:
    return () if before.state is after.state else (StateChanged(state=after.state),)


def _asked(
    run: Run, pending: PendingCall, kind: InterruptKind, ttl_ms: int, detail: str = ""
) -> PendingCall:
    number = pending.asked + 1
    interrupt = Interrupt(
        interrupt_id=interrupt_id(run.run_id, run.step, pending.call, kind, number),
        kind=kind,
        detail=detail,
        ttl_ms=ttl_ms,
    )
    return pending.model_copy(update={"interrupt": interrupt, "asked": number, "approved": False})


def _interrupted(pending: PendingCall) -> Interrupted:
    assert pending.interrupt is not None
    return Interrupted(
        interrupt_id=pending.interrupt.interrupt_id,
        reason=pending.interrupt.kind,
        call=pending.call,
        detail=pending.interrupt.detail,
        ttl_ms=pending.interrupt.ttl_ms,
    )


def _error(said: str) -> str:
    return json.dumps({"error": said})


def _not_pending(run: Run, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"run {run.run_id} does not wait for {what}: it was answered, has expired or never was",
        reason="INTERRUPT_NOT_PENDING",
    )
