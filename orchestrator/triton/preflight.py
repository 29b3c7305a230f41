"""What must be true before a tritonserver is started, each checked with its own sentence."""

import os
import shutil
import socket
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from orchestrator.triton.config import MIB, Ports, TritonConfig
from orchestrator.triton.errors import UnfitEnvironmentError
from orchestrator.triton.find import Installation

WHEEL_GLIBC = (2, 35)
MIN_SHM_BYTES = 32 * MIB
SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux


def check_environment(config: TritonConfig, found: Installation) -> None:
    """
    Raises:
        UnfitEnvironmentError: the first thing that would keep the server from working.
    """
    for repository in config.served:
        if not repository.is_dir():
            raise UnfitEnvironmentError(f"the model repository {repository} is not a folder")
    check_paths((config.runtime_dir, *config.served))
    if found.stub is not None:
        check_glibc(os.confstr("CS_GNU_LIBC_VERSION") or "")
        check_stub(found.stub)
        check_numpy(_installed_version("numpy"))
    check_shared_memory(shutil.disk_usage(SHM).free)


def check_paths(folders: Iterable[Path]) -> None:
    """Triton starts a model's Python process through a shell and quotes nothing."""
    for folder in folders:
        if any(character.isspace() for character in str(folder.resolve())):
            raise UnfitEnvironmentError(
                f"the folder {str(folder.resolve())!r} has a blank in its name, and Triton can't "
                "start its Python models from there: move it to a path without blanks"
            )


def check_glibc(version: str) -> None:
    numbers = version.removeprefix("glibc ").split(".")
    if not all(part.isdigit() for part in numbers) or tuple(map(int, numbers)) < WHEEL_GLIBC:
        raise UnfitEnvironmentError(
            f"this system's C library is {version or 'not glibc'}, and the wheel's tritonserver "
            "needs glibc 2.35 or newer: use Debian 12, Ubuntu 22.04 or newer, or NVIDIA's container"
        )


def check_stub(stub: Path) -> None:
    if not stub.is_file():
        known = sorted(p.name for p in stub.parent.parent.glob("3.*"))
        raise UnfitEnvironmentError(
            f"the wheel has no Python stub for Python {sys.version_info.major}."
            f"{sys.version_info.minor}, only for {', '.join(known)}: use Python 3.11 or 3.12"
        )


def check_numpy(version: str | None) -> None:
    if version is None:
        raise UnfitEnvironmentError(
            "numpy is not installed and Triton's Python models need it: "
            "run `pip install 'numpy<2'` in this environment"
        )
    if int(version.split(".")[0]) >= 2:
        raise UnfitEnvironmentError(
            f"numpy {version} is installed, and Triton's Python stub reads no tensor made by "
            "numpy 2: run `pip install 'numpy<2'` in this environment"
        )


def check_shared_memory(free: int) -> None:
    if free < MIN_SHM_BYTES:
        raise UnfitEnvironmentError(
            f"{SHM} has {free // MIB} MiB free and Triton's Python models need at least "
            f"{MIN_SHM_BYTES // MIB} MiB: enlarge it (docker run --shm-size=1g) or free some"
        )


def choose_ports(config: TritonConfig) -> Ports:
    """The given ports if they are free, and free ones where 0 was given.

    Raises:
        UnfitEnvironmentError: a port is taken, or given twice.
    """
    wanted = {"gRPC": config.grpc_port, "HTTP": config.http_port, "metrics": config.metrics_port}
    given = [port for port in wanted.values() if port]
    if len(set(given)) < len(given):
        raise UnfitEnvironmentError(f"Triton needs three different ports, got {wanted}")
    held: list[socket.socket] = []
    try:
        for role, port in wanted.items():
            held.append(_bind(config.host, port, role))
        numbers = [s.getsockname()[1] for s in held]
    finally:
        _close(held)
    return Ports(*numbers)


def _bind(host: str, port: int, role: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # Else a port of a server that just went away counts as taken while it is in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UnfitEnvironmentError(
            f"Triton's {role} port {port} on {host} cannot be used ({error.strerror}): "
            "stop what listens there or choose another port"
        ) from error
    return listener


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
