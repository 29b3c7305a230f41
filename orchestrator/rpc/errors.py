"""Errors as a caller sees them: a status code, one sentence, and google.rpc details."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from orchestrator.domain import errors

DOMAIN = "fleet"
_MESSAGE_BYTES = 1000  # it travels twice in the trailers, of which clients accept 8 KiB
_METADATA_BYTES = 200

_CODES: dict[type[errors.FleetError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...]

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)


def status_of(error: BaseException, *, method: str) -> Status:
    """Returns what to answer. A defect is logged, and answered with no more than its id."""
    code = _code(error)
    if code is None or not isinstance(error, errors.FleetError):
        return _defect(error, method)
    return Status(code, _cut(error.message, _MESSAGE_BYTES), tuple(_details(error)))


def _code(error: BaseException) -> grpc.StatusCode | None:
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)


def _details(error: errors.FleetError) -> Iterator[Message]:
    yield error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={key: _cut(value, _METADATA_BYTES) for key, value in error.metadata.items()},
    )
    if isinstance(error, errors.InvalidInput) and error.field:
        yield error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=_cut(error.field, _METADATA_BYTES),
                    description=_cut(error.message, _METADATA_BYTES),
                )
            ]
        )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _defect(error: BaseException, method: str) -> Status:
    error_id = secrets.token_hex(4)
    _log.error("%s failed, error id %s", method, error_id, exc_info=error)
    info = error_details_pb2.ErrorInfo(
        reason=errors.Internal.default_reason, domain=DOMAIN, metadata={"error_id": error_id}
    )
    message = f"internal error {error_id}: the service's log says more under this id"
    return Status(grpc.StatusCode.INTERNAL, message, (info,))


def _cut(text: str, max_bytes: int) -> str:
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")
