"""The end of a run, and the budget that may bring it."""

from __future__ import annotations

from orchestrator.domain.events import Finished
from orchestrator.domain.machine.transition import Transition
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.runs import (
    ModelCall,
    Run,
    RunError,
    RunState,
    StepRecord,
    Usage,
    served_tokens,
)

_UNANSWERED = '{"error": "the run ended before the tool answered"}'


def finish(
    run: Run,
    state: RunState,
    *,
    result: str = "",
    error: RunError | None = None,
    messages: tuple[Message, ...] = (),
    record: StepRecord | None = None,
    calls: tuple[ModelCall, ...] = (),
    dead_letter: bool = False,
) -> Transition:
    """Ends the run; calls that are open get an answer in the session, as models insist on one."""
    unanswered = tool_messages(run, missing=_UNANSWERED)
    ended = run.model_copy(update={"state": state, "pending": (), "result": result, "error": error})
    return Transition(
        run=ended,
        events=(Finished(state=state, result=result, error=error, usage=ended.usage),),
        messages=(*unanswered, *messages),
        record=record,
        charge=served_tokens(calls),
        calls=calls,
        dead_letter=dead_letter,
        cascade=tuple(p.child_run_id for p in run.pending if p.child_run_id and p.content is None),
    )


def tool_messages(run: Run, missing: str = "") -> tuple[Message, ...]:
    """The results of the step's calls, in the order of the calls."""
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


def charged(run: Run, usage: Usage) -> Run:
    return run.model_copy(update={"usage": run.usage + usage})


def exceeded(run: Run) -> RunError | None:
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
