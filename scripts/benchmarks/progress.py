"""What a benchmark tells the person who waits: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH, _SILENT_S, _CLEAR = 24, 10.0, "\r\033[K"


class Progress:
    def __init__(self, name: str, out: TextIO = sys.stderr) -> None:
        self._name = name
        self._out = out
        self._terminal = out.isatty()
        self._share = 0.0
        self._began = time.monotonic()
        self._last = 0.0

    def advance(self, share: float) -> None:
        self._share = min(max(share, 0.0), 1.0)

    def say(self, what: str) -> None:
        now = time.monotonic()
        if self._terminal:
            done = round(self._share * _WIDTH)
            bar = "█" * done + "·" * (_WIDTH - done)
            self._out.write(f"{_CLEAR}{self._name:9} {bar} {now - self._began:4.0f} s  {what[:60]}")
        elif now - self._last >= _SILENT_S:
            self._last = now
            self._out.write(f"{self._name}: {self._share:.0%}, {now - self._began:.0f} s: {what}\n")
        self._out.flush()

    def close(self) -> None:
        if self._terminal:
            self._out.write(_CLEAR)
            self._out.flush()
