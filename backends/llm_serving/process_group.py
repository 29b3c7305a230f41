"""Ends what an engine's process has started."""

import contextlib
import os
import signal
from pathlib import Path

PROC = Path("/proc")
TRACKER = b"multiprocessing.resource_tracker"
"""Ends by itself when the others have, and then removes the shared memory they left behind."""


def kill_group(group: int, *, spare: int = 0) -> None:
    for pid in _members(group):
        if pid != spare:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _members(group: int) -> list[int]:
    found = []
    for entry in os.scandir(PROC):
        if not entry.name.isdigit():
            continue
        # A process may end between the listing and the reading.
        with contextlib.suppress(OSError):
            # state, parent, group: what follows the name, which may hold anything.
            fields = (PROC / entry.name / "stat").read_bytes().rpartition(b")")[2].split()
            command = (PROC / entry.name / "cmdline").read_bytes()
            if int(fields[2]) == group and TRACKER not in command:
                found.append(int(entry.name))
    return found
