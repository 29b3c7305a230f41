"""What happens to a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.domain.interrupts import Answer, InterruptKind
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import ModelCall, RunError, StepRecord, Usage


@dataclass(frozen=True, slots=True)
class Submitted:
    """The run was accepted."""


@dataclass(frozen=True, slots=True)
class InferenceFinished:
    """The model's turn of the current step ended. Of a run with an output schema `text` is
    the JSON that was checked, unless there are tool calls.

    `gates` names, by call id, the calls that somebody outside has to answer, for at
    most `interrupt_ttl_ms`; the others are run.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    record: StepRecord
    gates: Mapping[str, InterruptKind] = field(default_factory=dict)
    interrupt_ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call ended, well or with an error that the model is shown.

    `usage` is what a run of another agent took. `handover` is the agent (name@version)
    that works on the session from now on; empty: the same.
    """

    call_id: str
    ok: bool
    content: str
    duration_ms: float
    usage: Usage = Usage()
    handover: str = ""


@dataclass(frozen=True, slots=True)
class SubRunOpened:
    """A call became a run of another agent; its item waits until that run has ended."""

    call_id: str
    child_run_id: str
    agent: str


@dataclass(frozen=True, slots=True)
class ToolOutcomeUnknown:
    """An at-most-once call was cut off: it may have happened. A person has to say."""

    call_id: str
    detail: str
    interrupt_ttl_ms: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody answered an interrupt."""

    interrupt_id: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class InterruptExpired:
    """Nobody answered the interrupt of this call in time."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run can't go on. `calls` are those of the step that failed. `dead_letter`: for
    operators to look at, and to try again.
    """

    error: RunError
    calls: tuple[ModelCall, ...] = ()
    dead_letter: bool = False


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The caller no longer wants the run. `calls` are those of the step that it stopped."""

    calls: tuple[ModelCall, ...] = ()


Event = (
    Submitted
    | InferenceFinished
    | ToolFinished
    | SubRunOpened
    | ToolOutcomeUnknown
    | Resumed
    | InterruptExpired
    | Failed
    | CancelRequested
)
