"""Errors that reach a caller.

FleetError
├── InvalidInput        the request can't be right, whatever the state
├── Unauthenticated     no or unknown credentials
├── NotFound            no such thing, or another tenant's
├── AlreadyExists       the id is taken by something else
├── FailedPrecondition  right request, wrong moment (SESSION_BUSY, RUN_TERMINAL)
├── Conflict            somebody else was first
│   ├── StaleLease      the lease is no longer ours: write nothing
│   └── VersionConflict the run changed since it was read: read, decide again
├── OutOfRange          EVENTS_TRIMMED
├── Exhausted           QUEUE_FULL, BUDGET, TENANT_QUOTA
├── Unavailable         a part is down or draining; try again
├── DeadlineExceeded    it took longer than it was given
├── Cancelled           the caller no longer wants it
└── Internal            a defect
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Remedy(StrEnum):
    """What helps against a failed call of a model.

    RETRY_HERE: the same once more, for it was the moment. TRY_ANOTHER: another model; this one
    will not answer soon. GIVE_UP: nothing; the request itself is wrong.
    """

    RETRY_HERE = "retry_here"
    TRY_ANOTHER = "try_another"
    GIVE_UP = "give_up"


class FleetError(Exception):
    """Root of the tree. `reason` is stable and for programs, the message for people."""

    default_reason = "INTERNAL"
    remedy = Remedy.GIVE_UP

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s


class InvalidInput(FleetError):
    """`field` is the path of the wrong field, as in the protobuf message."""

    default_reason = "INVALID_FIELD"

    def __init__(self, message: str, *, field: str = "", reason: str | None = None) -> None:
        super().__init__(message, reason=reason, metadata={"field": field} if field else None)
        self.field = field


class Unauthenticated(FleetError):
    default_reason = "UNAUTHENTICATED"


class NotFound(FleetError):
    default_reason = "NOT_FOUND"


class AlreadyExists(FleetError):
    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(FleetError):
    default_reason = "FAILED_PRECONDITION"


class Conflict(FleetError):
    default_reason = "CONFLICT"


class StaleLease(Conflict):
    default_reason = "STALE_LEASE"


class VersionConflict(Conflict):
    default_reason = "VERSION_CONFLICT"


class OutOfRange(FleetError):
    default_reason = "EVENTS_TRIMMED"


class Exhausted(FleetError):
    default_reason = "RESOURCE_EXHAUSTED"


class Unavailable(FleetError):
    default_reason = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        remedy: Remedy = Remedy.RETRY_HERE,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, retry_after_s=retry_after_s)
        self.remedy = remedy

    @property
    def another_may_answer(self) -> bool:
        """It is a model's failure, which another model may not meet."""
        of_models = self.reason in ("MODEL_UNAVAILABLE", "RATE_LIMITED")
        return of_models and self.remedy is not Remedy.GIVE_UP


class DeadlineExceeded(FleetError):
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(FleetError):
    default_reason = "CANCELLED"


class Internal(FleetError):
    default_reason = "INTERNAL"
