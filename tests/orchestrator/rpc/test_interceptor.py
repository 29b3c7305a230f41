from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, TypeAlias

import grpc
import pytest
from grpc_health.v1 import health_pb2
from prometheus_client import CollectorRegistry

from orchestrator.adapters.authenticators import OpenAuthenticator
from orchestrator.rpc.calls import Calls
from orchestrator.rpc.interceptor import CallInterceptor
from orchestrator.rpc.metrics import RpcMetrics

METHOD = "/fleet.v1.Test/Stream"
Request: TypeAlias = health_pb2.HealthCheckRequest


class Details(NamedTuple):
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class GoneCaller:
    """The context of a call whose connection has broken: what is sent fails in grpc's core."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    async def write(self, message: object) -> None:
        raise grpc.aio.InternalError("Failed execute_batch")

    async def abort(self, *status: object) -> None:
        raise AssertionError(f"nobody is there to read {status}")


async def test_a_caller_that_is_gone_while_it_is_written_to_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stream(request: Request, context: object) -> AsyncIterator[Request]:
        yield request

    async def found(details: object) -> Any:
        return grpc.unary_stream_rpc_method_handler(
            stream,
            request_deserializer=Request.FromString,
        )

    async def requests() -> AsyncIterator[bytes]:
        yield b""

    registry = CollectorRegistry()
    interceptor = CallInterceptor(
        OpenAuthenticator(),
        calls=Calls(),
        metrics=RpcMetrics(registry),
        unary_limit_s=1,
        stream_limit_s=1,
        write_limit_s=5.0,
    )
    handler: Any = await interceptor.intercept_service(found, Details(METHOD))  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await handler.stream_stream(requests(), GoneCaller())
    labels = {"method": METHOD, "code": "CANCELLED"}
    assert registry.get_sample_value("fleet_rpc_requests_total", labels) == 1
    assert not caplog.records
