"""What processes took of the processors."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CpuAccount:
    """Begins when it is made; 1.0 is one core. `load` is this process, which makes the load."""

    def __init__(self, pids: dict[str, list[int]]) -> None:
        self._pids = {**pids, "load": [os.getpid()]}
        self._began = self._ticks()

    def shares(self, seconds: float) -> dict[str, float]:
        ticks = self._ticks()
        return {role: (ticks[role] - self._began[role]) / _TICKS_PER_S / seconds for role in ticks}

    def _ticks(self) -> dict[str, int]:
        return {role: sum(map(_ticks_of, pids)) for role, pids in self._pids.items()}


def _ticks_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # in user and in kernel mode
