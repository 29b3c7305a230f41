"""The gRPC server: its servicers, its limits, its start and its end."""

from __future__ import annotations

from dataclasses import dataclass

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from orchestrator.api.services import Services
from orchestrator.domain.addresses import is_loopback
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.ports.auth import Authenticator
from orchestrator.rpc.agents import AgentServicer
from orchestrator.rpc.calls import Calls
from orchestrator.rpc.dead_letters import DeadLetterServicer
from orchestrator.rpc.health import Health
from orchestrator.rpc.inference import InferenceServicer
from orchestrator.rpc.interceptor import CallInterceptor
from orchestrator.rpc.metrics import RpcMetrics
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    dead_letters_pb2,
    dead_letters_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)
from orchestrator.rpc.runs import RunServicer
from orchestrator.rpc.sessions import SessionServicer
from orchestrator.rpc.usage import UsageServicer

SERVICES = tuple(
    service.full_name
    for file in (agents_pb2, sessions_pb2, runs_pb2, dead_letters_pb2, inference_pb2, usage_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
_CLOSE_S = 0.5


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen and how much to take.

    `address` is `host:port`; port 0 takes a free one. `reuse_port` lets several
    processes listen on one port, and hides that a port was taken.
    `min_ping_interval_s` has to be below the clients' keepalive time. A stream whose
    reader takes nothing for `write_limit_s` is ended.
    """

    address: str = "127.0.0.1:0"
    reuse_port: bool = False
    reflection: bool = False
    unary_limit_s: float = 30.0
    stream_limit_s: float = 3_700.0
    write_limit_s: float = 30.0
    max_request_bytes: int = 4 * 1024 * 1024
    max_metadata_bytes: int = 16 * 1024
    max_streams_per_connection: int = 1024
    max_calls: int = 16_384
    min_ping_interval_s: float = 5.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0


class ApiServer:
    """Serves fleet.v1, health and, when asked, reflection.

    Raises:
        InvalidInput: everybody would be let in from beyond this machine.
    """

    def __init__(
        self,
        services: Services,
        authenticator: Authenticator,
        settings: ServerSettings,
        registry: CollectorRegistry,
    ) -> None:
        if authenticator.loopback_only and not is_loopback(settings.address):
            raise InvalidInput(
                f"address {settings.address!r} can be reached from other machines, but no keys "
                "are set up: set up API keys, or listen on 127.0.0.1",
                field="address",
            )
        self._settings = settings
        self._calls = Calls()
        self._health = Health(SERVICES)
        self._server = grpc.aio.server(
            interceptors=[
                CallInterceptor(
                    authenticator,
                    calls=self._calls,
                    metrics=RpcMetrics(registry),
                    unary_limit_s=settings.unary_limit_s,
                    stream_limit_s=settings.stream_limit_s,
                    write_limit_s=settings.write_limit_s,
                )
            ],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_calls,
        )
        self._add_servicers(services)
        self.port = 0

    async def start(self) -> None:
        """Binds and serves; `port` is then the one that was bound.

        Raises:
            Unavailable: ADDRESS_IN_USE, the address can't be bound.
        """
        try:
            self.port = self._server.add_insecure_port(self._settings.address)
        except RuntimeError as error:
            raise Unavailable(
                f"can't listen on {self._settings.address}: the port is taken, or the address "
                "is not this machine's",
                reason="ADDRESS_IN_USE",
            ) from error
        await self._server.start()

    def set_serving(self, serving: bool) -> None:
        """Says in health whether the service has what it needs."""
        self._health.set_serving(serving)

    def drain(self) -> None:
        """Refuses new work; what runs goes on."""
        self._health.set_serving(False)
        self._calls.drain()

    async def stop(self, grace_s: float) -> None:
        """Drains, waits for open calls, ends those left with DRAINING, and closes."""
        self.drain()
        await self._calls.finish(grace_s)
        await self._server.stop(_CLOSE_S)

    async def wait_for_termination(self) -> None:
        await self._server.wait_for_termination()

    def _add_servicers(self, services: Services) -> None:
        server = self._server
        agents_pb2_grpc.add_AgentServiceServicer_to_server(AgentServicer(services.agents), server)
        sessions_pb2_grpc.add_SessionServiceServicer_to_server(
            SessionServicer(services.sessions), server
        )
        runs_pb2_grpc.add_RunServiceServicer_to_server(RunServicer(services.runs), server)
        dead_letters_pb2_grpc.add_DeadLetterServiceServicer_to_server(
            DeadLetterServicer(services.dead_letters), server
        )
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(
            InferenceServicer(services.inference), server
        )
        usage_pb2_grpc.add_UsageServiceServicer_to_server(UsageServicer(services.usage), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.reflection:
            names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(settings.reuse_port)),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),  # answers are bounded page by page
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        # Else it drops calls at random, as CANCELLED, when 1,000 wait to be taken.
        ("grpc.server.max_pending_requests", settings.max_calls),
        ("grpc.server.max_pending_requests_hard_limit", settings.max_calls),
        ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        (
            "grpc.http2.min_recv_ping_interval_without_data_ms",
            round(settings.min_ping_interval_s * 1000),
        ),
    ]
