"""The run's state machine: `advance(run, event) -> Transition`, a pure function.

    QUEUED ─claimed─▶ RUNNING ─text─▶ COMPLETED
                       ▲   └─tool calls─▶ WAITING_FOR_TOOLS ◀─answers─▶ INTERRUPTED
                       └────last result────────┴──────────────────────────┘
    any of them ─failed, cancelled─▶ FAILED, CANCELLED

A transition says what to write; the store writes all of it or nothing. No clock, no
randomness: times are lengths of time, and the store adds its own clock to them.
"""

from orchestrator.domain.machine.advance import advance
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
from orchestrator.domain.machine.transition import Transition

__all__ = [
    "CancelRequested",
    "Event",
    "Failed",
    "InferenceFinished",
    "InterruptExpired",
    "Resumed",
    "SubRunOpened",
    "Submitted",
    "ToolFinished",
    "ToolOutcomeUnknown",
    "Transition",
    "advance",
]
