"""How much memory each model's processes hold."""

import contextlib
import os
from collections import defaultdict
from pathlib import Path

from orchestrator.triton.leftovers import PROC, find_stubs
from orchestrator.triton.runtime import RECORD, recorded_prefix


def model_memory(runtime: Path) -> dict[str, int]:
    """Bytes of each Python model of the server in this runtime folder, if one runs here.

    The proportional set size of the model's Python process and of those that it started: a page
    that several processes share counts in parts.
    """
    prefix = recorded_prefix(runtime / RECORD)
    if prefix is None:
        return {}
    children = _children()
    held: defaultdict[str, int] = defaultdict(int)
    for stub in find_stubs(prefix):
        waiting = [stub.pid]
        while waiting:
            pid = waiting.pop()
            held[stub.model] += _proportional_bytes(pid)
            waiting += children[pid]
    return dict(held)


def _children() -> defaultdict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # pid (name) state parent; the name may hold anything
                after_name = (PROC / entry.name / "stat").read_text().rpartition(")")[2]
                found[int(after_name.split()[1])].append(int(entry.name))
    return found


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
