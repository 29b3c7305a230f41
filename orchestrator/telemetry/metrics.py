"""The Prometheus endpoint of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)


class ProcessMetrics:
    """A registry with the process's own figures and `fleet_ready`, 1 while it serves."""

    def __init__(self, role: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._ready = Gauge(
            "fleet_ready", "1 while the process serves", ["role"], registry=self.registry
        ).labels(role)

    def set_ready(self, ready: bool) -> None:
        self._ready.set(int(ready))

    @contextmanager
    def serve(self, host: str, port: int) -> Iterator[int]:
        """Serves /metrics on `port` (0: a free one); yields the port.

        Raises:
            OSError: the port is taken.
        """
        server, thread = start_http_server(port, addr=host, registry=self.registry)
        try:
            yield server.server_port
        finally:
            self.set_ready(False)
            server.shutdown()
            thread.join()
            server.server_close()
