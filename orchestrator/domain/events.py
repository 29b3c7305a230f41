"""What a watcher of a run sees. Stored once, numbered by the store, contiguous from 1."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from orchestrator.domain.agents import ModelPolicy
from orchestrator.domain.base import Value
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import RunError, RunState, Usage


class StateChanged(Value):
    kind: Literal["state_changed"] = "state_changed"
    state: RunState


class Candidate(Value):
    """A model that was considered. `excluded` says why it can't; empty when it can."""

    model: str
    quality: float = 0.0
    cost_micros: int = 0
    excluded: str = ""
    ttft_ms: float = 0.0
    tpot_ms: float = 0.0
    latency_ms: float = 0.0
    in_flight: int = 0
    waiting: int | None = None  # in the engine's own queue; None: not known
    score: float = 0.0


class RouteDecided(Value):
    kind: Literal["route_decided"] = "route_decided"
    model: str
    reason: str
    task: Mapping[str, float] = Field(default_factory=dict)
    complexity: Mapping[str, float] = Field(default_factory=dict)
    risk: Mapping[str, float] = Field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    policy: ModelPolicy = ModelPolicy()
    prompt_tokens: int = 0
    new_tokens: int = 0
    capabilities: tuple[str, ...] = ()
    escalate_to: str = ""  # asked next when the answer of `model` fails its check
    route_ms: float = 0.0


class TextDelta(Value):
    kind: Literal["text_delta"] = "text_delta"
    text: str


class ToolCallRequested(Value):
    kind: Literal["tool_call_requested"] = "tool_call_requested"
    call: ToolCall


class ToolCallFinished(Value):
    kind: Literal["tool_call_finished"] = "tool_call_finished"
    call_id: str
    name: str
    ok: bool
    content: str
    duration_ms: float = 0.0


class StepRestarted(Value):
    """The step runs again from its start: its text so far is void."""

    kind: Literal["step_restarted"] = "step_restarted"
    reason: str


class SubRunStarted(Value):
    """The call is a run of another agent, in a session of its own."""

    kind: Literal["sub_run_started"] = "sub_run_started"
    call_id: str
    run_id: str
    agent: str


class AnswerChecked(Value):
    """An answer was looked at before anybody saw it. `confidence` is the mean probability of
    its tokens by the model itself; None: not known.
    """

    kind: Literal["answer_checked"] = "answer_checked"
    model: str
    passed: bool
    reason: str = ""
    confidence: float | None = None
    escalated_to: str = ""


class CacheHit(StrEnum):
    """EXACT: the same request was answered before. SHARED: it was being answered just then.
    SEMANTIC: one that means the same was answered before.
    """

    EXACT = "exact"
    SEMANTIC = "semantic"
    SHARED = "shared"


class AnswerCached(Value):
    """The step's answer is one that was given before. `similarity` is of SEMANTIC."""

    kind: Literal["answer_cached"] = "answer_cached"
    model: str
    hit: CacheHit
    similarity: float = 0.0


class Interrupted(Value):
    """The run waits for somebody outside, `ttl_ms` from the event's time on."""

    kind: Literal["interrupted"] = "interrupted"
    interrupt_id: str
    reason: InterruptKind
    call: ToolCall
    detail: str = ""
    ttl_ms: int = 0


class Finished(Value):
    kind: Literal["finished"] = "finished"
    state: RunState
    result: str = ""
    error: RunError | None = None
    usage: Usage = Usage()


Payload = Annotated[
    StateChanged
    | RouteDecided
    | TextDelta
    | ToolCallRequested
    | ToolCallFinished
    | StepRestarted
    | SubRunStarted
    | AnswerChecked
    | AnswerCached
    | Interrupted
    | Finished,
    Field(discriminator="kind"),
]
PAYLOAD: TypeAdapter[Payload] = TypeAdapter(Payload)


class RunEvent(Value):
    """A numbered event, as the store keeps it."""

    run_id: str
    seq: int
    step: int
    attempt: int
    time_ms: int
    payload: Payload

    @property
    def terminal(self) -> bool:
        return isinstance(self.payload, Finished)
