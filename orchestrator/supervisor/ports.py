"""The ports of a stack: free ones where asked, all of them checked before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.supervisor.unit import StartError


def split(address: str, setting: str) -> tuple[str, int]:
    """Splits host:port.

    Raises:
        StartError: it is not that.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise StartError(f"{setting} is {address!r}; it must be host:port, such as 127.0.0.1:50051")
    return host, int(port)


def with_free_ports(settings: Settings) -> Settings:
    """The same settings with a free port for everything that listens."""
    host, _ = split(settings.api.listen, "api.listen")
    free = iter(_free_ports(host, 7 + settings.worker.count))
    return settings.model_copy(
        update={
            "api": settings.api.model_copy(
                update={"listen": f"{host}:{next(free)}", "metrics_port": next(free)}
            ),
            "toolbox": settings.toolbox.model_copy(update={"metrics_port": next(free)}),
            "redis": settings.redis.model_copy(update={"port": next(free)}),
            "triton": settings.triton.model_copy(
                update={
                    "grpc_port": next(free),
                    "http_port": next(free),
                    "metrics_port": next(free),
                }
            ),
            "worker": settings.worker.model_copy(update={"metrics_port": _block(free, settings)}),
        }
    )


def check(settings: Settings) -> None:
    """Raises StartError for the first port that is taken."""
    for setting, host, port in _wanted(settings):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                variable = f"FLEET_{setting.upper().replace('.', '__')}"
                raise StartError(
                    f"port {port} ({setting}) can't be used: {error.strerror}; free it, set "
                    f"{variable}, or let every port be chosen with --free-ports"
                ) from None


def _wanted(settings: Settings) -> Iterator[tuple[str, str, int]]:
    loopback = "127.0.0.1"
    yield "api.listen", *split(settings.api.listen, "api.listen")
    yield "api.metrics_port", loopback, settings.api.metrics_port
    yield "toolbox.metrics_port", loopback, settings.toolbox.metrics_port
    for number in range(settings.worker.count):
        yield "worker.metrics_port", loopback, settings.worker.metrics_port + number
    if not settings.redis.url.get_secret_value():
        yield "redis.port", loopback, settings.redis.port
    if not settings.triton.is_elsewhere:
        yield "triton.grpc_port", loopback, settings.triton.grpc_port
        yield "triton.http_port", loopback, settings.triton.http_port
        yield "triton.metrics_port", loopback, settings.triton.metrics_port


def _free_ports(host: str, count: int) -> list[int]:
    held = [socket.create_server((host, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _block(free: Iterator[int], settings: Settings) -> int:
    """The first of as many ports in a row as there are workers."""
    if settings.worker.count == 1:
        return next(free)
    for start in range(20_000, 60_000, settings.worker.count):
        try:
            held = [
                socket.create_server(("127.0.0.1", start + number))
                for number in range(settings.worker.count)
            ]
        except OSError:
            continue
        for server in held:
            server.close()
        return start
    raise StartError(f"there are no {settings.worker.count} free ports in a row for the workers")
