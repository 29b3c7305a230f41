"""What a worker or a toolbox claims."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.domain.base import Value
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.runs import Run


class WorkKind(StrEnum):
    """REASON is one inference step, TOOL one tool call of a step."""

    REASON = "reason"
    TOOL = "tool"


class WorkItem(Value):
    """One unit that is leased, executed and committed: (run, step) or (run, step, call).

    `delay_ms`: it is not claimed before so much time after it was queued.
    `parent_run_id`: of a run that another one started; when that has ended, so does this.
    """

    kind: WorkKind
    run_id: str
    step: int
    call: ToolCall | None = None
    delay_ms: int = 0
    parent_run_id: str = ""

    @property
    def key(self) -> str:
        """The item's name, unique for ever: also a tool's idempotency key."""
        call = f":{self.call.call_id}" if self.call else ""
        return f"{self.run_id}:{self.step}{call}"


class Lease(Value):
    """The right to commit one item. The random nonce is the fence."""

    item: WorkItem
    tenant: str
    session_id: str
    nonce: str
    attempt: int
    expires_ms: int


class Claim(Value):
    """A lease with the run as it was when claimed; `version` guards the commit.

    `history` holds the session's newest messages, as many as were asked for. With
    `cancel_requested` the run is to end now; so it is with `over_budget`, which says whose
    budget is spent. `now_ms` is the store's time of the claim,
    `waited_ms` how long the item was ready before it.
    """

    lease: Lease
    run: Run
    version: int
    history: tuple[Message, ...] = ()
    cancel_requested: bool = False
    over_budget: str = ""
    now_ms: int = 0
    waited_ms: int = 0

    def left_ms(self, default_ms: int) -> int:
        """The run's time that was left when it was claimed; `default_ms` is that of runs that
        name none. All times are the store's: no clock of ours is compared with it.
        """
        run = self.run
        return run.created_ms + (run.timeout_ms or default_ms) + run.paused_ms - self.now_ms


class DeadLetter(Value):
    """A run that failed because an item of it was tried in vain, with what is known."""

    entry_id: str
    tenant: str
    run_id: str
    session_id: str
    agent: str
    item_key: str
    step: int
    attempts: int
    reason: str
    message: str
    worker: str
    time_ms: int
