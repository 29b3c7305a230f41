"""What a worker or a toolbox claims."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.domain.base import Value
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Run


class WorkKind(StrEnum):
    """REASON is one inference step, TOOL one tool call of a step."""

    REASON = "reason"
    TOOL = "tool"


class WorkItem(Value):
    """One unit that is leased, executed and committed: (run, step) or (run, step, call)."""

    kind: WorkKind
    run_id: str
    step: int
    call: ToolCall | None = None

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
    """A lease with the run as it was when claimed; `version` guards the commit."""

    lease: Lease
    run: Run
    version: int
