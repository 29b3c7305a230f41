"""Runs: one input of a session, worked on step by step until it has an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import reduce
from operator import add

from pydantic import Field

from orchestrator.domain.agents import Budget
from orchestrator.domain.base import Value
from orchestrator.domain.interrupts import Interrupt
from orchestrator.domain.messages import ToolCall


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_TOOLS = "waiting_for_tools"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)


class BusyPolicy(StrEnum):
    """What a new run does when its session already has an active one."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"


class Usage(Value):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    tool_calls: int = 0
    cached_prompt_tokens: int = 0  # of prompt_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_micros=self.cost_micros + other.cost_micros,
            tool_calls=self.tool_calls + other.tool_calls,
            cached_prompt_tokens=self.cached_prompt_tokens + other.cached_prompt_tokens,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class CallOutcome(StrEnum):
    """USED: its answer is the step's. REJECTED: it did not pass a check. CUT_SHORT: it was
    stopped, or failed after it had begun. CACHED: an earlier answer was given, for nothing.
    """

    USED = "used"
    REJECTED = "rejected"
    CUT_SHORT = "cut_short"
    CACHED = "cached"


class ModelCall(Value):
    """One call of a model, with its cost, at the prices of that moment: in millionths of the
    currency per million tokens.
    """

    model: str
    outcome: CallOutcome = CallOutcome.USED
    usage: Usage = Usage()
    input_price: int = 0
    cached_input_price: int = 0
    output_price: int = 0


def usage_of(calls: Iterable[ModelCall]) -> Usage:
    return reduce(add, (call.usage for call in calls), Usage())


def served_tokens(calls: Iterable[ModelCall]) -> int:
    """The tokens that models served: an answer that was given before took none."""
    return sum(call.usage.tokens for call in calls if call.outcome is not CallOutcome.CACHED)


class RunError(Value):
    reason: str
    message: str


class PendingCall(Value):
    """A tool call of the current step; `content` is None until it has finished.

    `interrupt` is set while somebody outside has to answer, `approved` once a person
    agreed, `child_run_id` when the call is a run of another agent. `asked` counts
    the interrupts of this call.
    """

    call: ToolCall
    content: str | None = None
    interrupt: Interrupt | None = None
    approved: bool = False
    asked: int = 0
    child_run_id: str = ""


class Parent(Value):
    """The call of another run that this run answers. `depth` is 1 for a child, 2 for its child."""

    run_id: str
    item_key: str
    depth: int = Field(ge=1)


class StepRecord(Value):
    """What one inference step did and what it took."""

    step: int
    attempt: int
    model: str
    finish_reason: str
    calls: tuple[ModelCall, ...] = ()
    route_ms: float = 0.0
    prompt_ms: float = 0.0
    ttft_ms: float = 0.0
    inference_ms: float = 0.0

    @property
    def usage(self) -> Usage:
        return usage_of(self.calls)


class Run(Value):
    """The durable state of a run. Bounded: it holds no history, only the step's open calls.

    Times are the store's, of the Unix epoch; `timeout_ms` 0 is none.
    """

    run_id: str
    tenant: str
    session_id: str
    agent: str
    input: str
    state: RunState = RunState.QUEUED
    step: int = Field(default=1, ge=1)
    model: str = ""  # that answered the last step
    pending: tuple[PendingCall, ...] = ()
    busy_policy: BusyPolicy = BusyPolicy.REJECT
    budget: Budget = Budget()
    timeout_ms: int = 0
    output_schema_json: str = ""  # of the result; whoever answers, also after a handover
    priority: int = 0
    labels: Mapping[str, str] = Field(default_factory=dict)
    parent: Parent | None = None
    usage: Usage = Usage()
    result: str = ""
    error: RunError | None = None
    paused_ms: int = 0  # spent interrupted
    created_ms: int = 0
    updated_ms: int = 0
    finished_ms: int = 0
