"""Runs that are on their way: ended by their caller, answered by somebody outside."""

from __future__ import annotations

from orchestrator.api import limits
from orchestrator.domain.errors import InvalidInput, NotFound, VersionConflict
from orchestrator.domain.interrupts import Answer, Answered, Approved, Denied
from orchestrator.domain.machine import Resumed, advance
from orchestrator.domain.runs import Run
from orchestrator.ports.state import RunStore

_TRIES = 50


async def cancel(runs: RunStore, tenant: str, run_id: str) -> Run:
    """Cancels the run, and before it the runs that its open calls started.

    What a worker starts meanwhile ends as well: the store knows whose child it is.

    Raises:
        NotFound: no such run of this tenant.
    """
    run = await runs.get(tenant, run_id)
    for pending in run.pending:
        if pending.child_run_id:
            try:
                await cancel(runs, tenant, pending.child_run_id)
            except NotFound:
                continue  # its time to live was over
    return await runs.cancel(tenant, run_id)


async def resume(
    runs: RunStore, tenant: str, run_id: str, interrupt_id: str, answer: Answer
) -> Run:
    """Answers the interrupt, whatever else happens to the run meanwhile.

    Raises:
        NotFound: no such run of this tenant.
        InvalidInput: the answer is too large, or of a kind that the interrupt doesn't take.
        FailedPrecondition: INTERRUPT_NOT_PENDING, RUN_TERMINAL.
        VersionConflict: others kept on changing the run.
    """
    limits.text(interrupt_id, "interrupt_id", max_bytes=limits.NAME_BYTES, required=True)
    _check(answer)
    for _ in range(_TRIES):
        read = await runs.read(tenant, run_id)
        transition = advance(read.run, Resumed(interrupt_id, answer))
        try:
            await runs.change(transition, version=read.version)
        except VersionConflict as conflict:
            last = conflict
        else:
            return await runs.get(tenant, run_id)
    raise last


def _check(answer: Answer) -> None:
    match answer:
        case Denied():
            limits.text(answer.reason, "approval.reason", max_bytes=limits.DESCRIPTION_BYTES)
        case Answered():
            limits.text(answer.content, "answer", max_bytes=limits.RESULT_BYTES)
            if not answer.content.strip():
                raise InvalidInput(
                    "the answer is empty: the model needs something to read",
                    field="answer",
                    reason="REQUIRED",
                )
        case Approved():
            pass
