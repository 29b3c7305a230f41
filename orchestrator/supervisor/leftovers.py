"""Processes of a stack whose supervisor was killed: found by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "FLEET_STACK"
"""Environment variable of every process of a stack: its runtime folder."""

_PROC = Path("/proc")
_POLL_S = 0.05


def find(runtime: Path) -> list[int]:
    """Returns the ids of living processes that belong to the stack in `runtime`."""
    wanted = f"{MARK}={runtime.resolve()}".encode()
    found = []
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        # A process may end between the listing and the reading, or belong to somebody else.
        with contextlib.suppress(OSError):
            if wanted in (_PROC / entry.name / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def end(runtime: Path, *, grace_s: float) -> int:
    """Ends them: SIGTERM, after `grace_s` SIGKILL. Returns how many there were."""
    first = find(runtime)
    _signal(first, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while (left := find(runtime)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    _signal(left, signal.SIGKILL)
    while find(runtime):
        time.sleep(_POLL_S)
    return len(first)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
