"""A failed call, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class CallError(Exception):
    """A call failed: `code` is gRPC's, `reason` and `metadata` the service's, empty without any."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})

    @property
    def retryable(self) -> bool:
        """Nothing is known to be wrong with the call itself: the same one may succeed."""
        return self.code is grpc.StatusCode.UNAVAILABLE

    @property
    def resumable(self) -> bool:
        """A stream that ended so goes on where it was: also one that reached its time limit."""
        return self.retryable or self.code is grpc.StatusCode.DEADLINE_EXCEEDED


def call_error(error: grpc.RpcError) -> CallError:
    """Reads a gRPC error, with its google.rpc.ErrorInfo where there is one."""
    assert isinstance(error, grpc.aio.AioRpcError)
    info = error_details_pb2.ErrorInfo()
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))
    except ValueError:
        # The details disagree with the status: somebody between us and the service wrote one.
        status = None
    for detail in status.details if status else ():
        if detail.Unpack(info):
            break
    said = error.details() or error.code().name
    return CallError(error.code(), said, info.reason, info.metadata)
