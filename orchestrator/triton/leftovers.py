"""What belongs to a runtime folder's server: its processes and its shared memory.

Both carry the server's shared-memory prefix, a random name of this server alone, so they are
found again after a crash without trusting a process id.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux
STUB = "triton_python_backend_stub"
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Stub:
    """A process that runs one instance of a Python model."""

    pid: int
    model: str
    instance: str
    region: str


def find_processes(prefix: str) -> list[int]:
    """The server and its stubs; none for an empty prefix, which all would have."""
    return [pid for pid, argv in _processes() if _belongs(argv, prefix)] if prefix else []


def find_stubs(prefix: str) -> list[Stub]:
    stubs = (_parse_stub(pid, argv) for pid, argv in _processes())
    return [stub for stub in stubs if stub is not None and stub.region.startswith(prefix)]


def kill_processes(prefix: str, *, grace_s: float) -> list[int]:
    """SIGTERM, then after `grace_s` SIGKILL; returns the ids that were there."""
    found = find_processes(prefix)
    _signal(found, signal.SIGTERM if grace_s > 0 else signal.SIGKILL)
    deadline = time.monotonic() + grace_s
    while (left := find_processes(prefix)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal(left, signal.SIGKILL)
    while find_processes(prefix):
        time.sleep(POLL_S)
    return found


def remove_shared_memory(prefix: str) -> None:
    for region in SHM.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _processes() -> list[tuple[int, list[str]]]:
    found = []
    for entry in os.scandir(PROC):
        if not entry.name.isdigit():
            continue
        # A process may end between the listing and the reading; a zombie's line is empty.
        with contextlib.suppress(OSError):
            line = (PROC / entry.name / "cmdline").read_bytes()
            if line:
                argv = line.decode(errors="replace").rstrip("\0").split("\0")
                found.append((int(entry.name), argv))
    return found


def _belongs(argv: list[str], prefix: str) -> bool:
    if f"--backend-config=python,shm-region-prefix-name={prefix}" in argv:
        return True
    stub = _parse_stub(0, argv)
    return stub is not None and stub.region.startswith(prefix)


def _parse_stub(pid: int, argv: list[str]) -> Stub | None:
    # stub, .../model/version/model.py, region, size, growth, server's pid, backend, ipc, instance
    if len(argv) < 9 or Path(argv[0]).name != STUB:
        return None
    return Stub(pid, Path(argv[1]).parent.parent.name, argv[8], argv[2])


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
