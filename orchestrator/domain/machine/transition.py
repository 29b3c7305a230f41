"""What one event changes, to be written at once."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.events import Payload
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.runs import ModelCall, Run, StepRecord
from orchestrator.domain.work import WorkItem, WorkKind


@dataclass(frozen=True, slots=True)
class Transition:
    """`run` is the new state, `events` what watchers see, `messages` what the session gains,
    `record` the step's result, `charge` the tokens the tenant is charged in the fair queue,
    `calls` what goes into the ledger.

    `enqueue` is the work that follows; an item that is there already, in whatever state,
    is replaced, and `drop` names those that go: a lease on one is lost. With `parked_on`
    the committed item is not done: it is queued again, its attempts forgotten, when that
    run (of the same shard) has ended, at once if it has. `session_agent` is the agent
    the session has from now on; empty: the same. `dead_letter`: leave an entry for
    operators. `cascade` names the runs that this one started and that are to be
    cancelled, as it has ended without them.
    """

    run: Run
    events: tuple[Payload, ...] = ()
    messages: tuple[Message, ...] = ()
    enqueue: tuple[WorkItem, ...] = ()
    drop: tuple[str, ...] = ()
    record: StepRecord | None = None
    charge: int = 0
    calls: tuple[ModelCall, ...] = ()
    parked_on: str = ""
    session_agent: str = ""
    dead_letter: bool = False
    cascade: tuple[str, ...] = ()


def reasoning(run: Run) -> WorkItem:
    """The inference of the run's current step."""
    return WorkItem(
        kind=WorkKind.REASON, run_id=run.run_id, step=run.step, parent_run_id=_parent(run)
    )


def calling(run: Run, call: ToolCall, *, delay_ms: int = 0) -> WorkItem:
    """A call of the run's current step."""
    return WorkItem(
        kind=WorkKind.TOOL,
        run_id=run.run_id,
        step=run.step,
        call=call,
        delay_ms=delay_ms,
        parent_run_id=_parent(run),
    )


def _parent(run: Run) -> str:
    return run.parent.run_id if run.parent else ""
