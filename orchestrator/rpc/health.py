"""grpc.health.v1. (grpcio-health-checking's forgets watchers once one of them leaves.)"""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from grpc_health.v1 import health_pb2

from orchestrator.domain.errors import NotFound


class Health:
    """Serving until told otherwise. The empty name is the server as a whole."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services) | {""}
        self._status = health_pb2.HealthCheckResponse.SERVING
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        self._status = response.SERVING if serving else response.NOT_SERVING
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, _context: object
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            known = ", ".join(sorted(self._services - {""}))
            raise NotFound(f"no service {request.service[:100]!r} here; there are: {known}")
        return self._response(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _context: object
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last = None
        while True:
            changed = self._changed
            response = self._response(request.service)
            if response != last:
                yield response
                last = response
            await changed.wait()

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        known = service in self._services
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        return health_pb2.HealthCheckResponse(status=self._status if known else unknown)
