"""What becomes of an item whose handler failed, by class of error. The only place that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.errors import (
    AlreadyExists,
    DeadlineExceeded,
    Exhausted,
    FailedPrecondition,
    FleetError,
    InvalidInput,
    NotFound,
    OutOfRange,
    Remedy,
    StaleLease,
    Unavailable,
)
from orchestrator.domain.machine import Event, Failed
from orchestrator.domain.runs import RunError
from orchestrator.execution.retry import Backoff


class Treatment(StrEnum):
    """RETRY: again later, a bounded number of times, then the run fails and leaves a dead
    letter. WAIT: again later, and it costs no attempt. FAIL: the run fails; trying again
    would not help. DROP: the item is no longer ours, or its run has ended.
    """

    RETRY = "retry"
    WAIT = "wait"
    FAIL = "fail"
    DROP = "drop"


POLICY: tuple[tuple[type[Exception], str, Treatment], ...] = (
    (StaleLease, "", Treatment.DROP),
    (FailedPrecondition, "", Treatment.DROP),
    (Unavailable, "", Treatment.RETRY),
    (Exhausted, "QUEUE_FULL", Treatment.WAIT),
    (Exhausted, "TENANT_QUOTA", Treatment.WAIT),
    (Exhausted, "", Treatment.FAIL),
    (InvalidInput, "", Treatment.FAIL),
    (NotFound, "", Treatment.FAIL),
    (AlreadyExists, "", Treatment.FAIL),
    (OutOfRange, "", Treatment.FAIL),
    (DeadlineExceeded, "", Treatment.FAIL),
    (Exception, "", Treatment.RETRY),  # a defect of ours may hit one process, or one moment
)
"""Error class, its reason (empty: any), what to do. The first line that fits counts."""


def treatment(error: Exception) -> Treatment:
    if isinstance(error, Unavailable) and error.remedy is Remedy.GIVE_UP:
        return Treatment.FAIL
    reason = error.reason if isinstance(error, FleetError) else ""
    for kind, only, treated in POLICY:
        if isinstance(error, kind) and only in ("", reason):
            return treated
    return Treatment.RETRY


@dataclass(frozen=True, slots=True)
class HandBack:
    """Give the item back, to be claimed again after the delay.

    `void`: say to watchers that its text so far is void. The store says so itself when
    the attempt counts.
    """

    delay_ms: int = 0
    counts: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Write nothing."""

    reason: str


Decision = Event | HandBack | Drop


def decide(
    error: Exception, *, key: str, attempt: int, max_attempts: int, backoff: Backoff
) -> Decision:
    """Returns what to do with an item that failed at its `attempt`."""
    match treatment(error):
        case Treatment.DROP:
            return Drop(error.reason if isinstance(error, FleetError) else "")
        case Treatment.WAIT:
            least_s = (isinstance(error, FleetError) and error.retry_after_s) or 0.0
            return HandBack(delay_ms=int((least_s + backoff.delay_s(1)) * 1000))
        case Treatment.FAIL:
            return Failed(_cause(error, key))
        case Treatment.RETRY if attempt < max_attempts:
            return HandBack(delay_ms=int(backoff.delay_s(attempt) * 1000), counts=True)
        case Treatment.RETRY:
            return Failed(_cause(error, key), dead_letter=True)


def _cause(error: Exception, key: str) -> RunError:
    if isinstance(error, FleetError):
        return RunError(reason=error.reason, message=error.message)
    # Its own message may hold a prompt.
    return RunError(reason="INTERNAL", message=f"internal error in {key}")
