"""Whether a process serves."""

from __future__ import annotations

import asyncio
import urllib.request
from http.client import HTTPException

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_S = 1.0


async def metrics_say_ready(url: str) -> bool:
    """Whether the /metrics at `url` has `fleet_ready` at 1."""
    return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our own
            text = answer.read().decode()
    except (OSError, HTTPException):
        return False
    return any(
        line.startswith("fleet_ready{") and line.endswith(" 1.0") for line in text.split("\n")
    )


async def grpc_says_serving(address: str) -> bool:
    """Whether grpc.health.v1 at `address` says SERVING for the whole server."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
