"""What the gRPC surface measures of itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WATCHES = frozenset({"/fleet.v1.RunService/WatchRun", "/fleet.v1.RunService/Ask"})
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(slots=True)
class Outcome:
    """The code that a call ended with, to be set before it ends."""

    code: str = "OK"


class RpcMetrics:
    def __init__(self, registry: CollectorRegistry, *, watches: Set[str] = WATCHES) -> None:
        self._watches = watches
        self._requests = Counter(
            "fleet_rpc_requests_total", "Calls that ended.", ["method", "code"], registry=registry
        )
        self._duration = Histogram(
            "fleet_rpc_duration_seconds",
            "Time from a call's arrival to its end; a stream's last message.",
            ["method"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._in_flight = Gauge(
            "fleet_rpc_in_flight", "Calls being answered now.", ["method"], registry=registry
        )
        self._open_watches = Gauge(
            "fleet_rpc_open_watches", "Callers watching a run now.", registry=registry
        )

    @contextmanager
    def call(self, method: str) -> Iterator[Outcome]:
        outcome = Outcome()
        started = time.perf_counter()
        self._in_flight.labels(method).inc()
        if method in self._watches:
            self._open_watches.inc()
        try:
            yield outcome
        finally:
            self._in_flight.labels(method).dec()
            if method in self._watches:
                self._open_watches.dec()
            self._requests.labels(method, outcome.code).inc()
            self._duration.labels(method).observe(time.perf_counter() - started)
