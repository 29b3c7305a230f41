"""CPU seconds of process groups, with those of their children."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """Begins when it is made. `groups` maps a name to pids; their descendants count with them,
    also those that have ended and were waited for.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: tuple(pids) for name, pids in groups.items()}
        self._before = self._seconds()

    def taken(self) -> dict[str, float]:
        now = self._seconds()
        return {name: now[name] - self._before[name] for name in self._groups}

    def _seconds(self) -> dict[str, float]:
        stats = _stats()
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in stats.items():
            children.setdefault(parent, []).append(pid)
        return {name: _of(pids, stats, children) for name, pids in self._groups.items()}


def _of(
    pids: Iterable[int], stats: Mapping[int, tuple[int, float]], children: Mapping[int, list[int]]
) -> float:
    total, waiting, seen = 0.0, list(pids), set[int]()
    while waiting:
        pid = waiting.pop()
        if pid in seen or pid not in stats:
            continue
        seen.add(pid)
        total += stats[pid][1]
        waiting += children.get(pid, [])
    return total


def _stats() -> dict[int, tuple[int, float]]:
    """pid → its parent, its CPU seconds with those of children it has waited for."""
    found: dict[int, tuple[int, float]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_S
    return found
