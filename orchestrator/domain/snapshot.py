"""What a watcher that joins in the middle has missed, folded into one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from orchestrator.domain.events import RunEvent, StepRestarted, TextDelta
from orchestrator.domain.runs import Run


@dataclass(frozen=True, slots=True)
class Progress:
    """A run's events up to `seq`; `text` is that of the current step's current attempt."""

    seq: int = 0
    step: int = 0
    attempt: int = 0
    time_ms: int = 0
    text: str = ""
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The first thing a watcher sees: the run as it is now, and its text up to `progress.seq`."""

    run: Run
    progress: Progress


def fold(progress: Progress, events: Iterable[RunEvent]) -> Progress:
    """Returns the progress after these events, which follow it in order."""
    return reduce(_include, events, progress)


def _include(progress: Progress, event: RunEvent) -> Progress:
    # A step's end may be followed by events that carry the next step's number.
    restarted = isinstance(event.payload, StepRestarted) or event.step != progress.step
    text = "" if restarted else progress.text
    if isinstance(event.payload, TextDelta):
        text += event.payload.text
    return replace(
        progress,
        seq=event.seq,
        step=event.step,
        attempt=event.attempt,
        time_ms=event.time_ms,
        text=text,
        finished=event.terminal,
    )
