"""What set-up tells the person who waits for it."""

import time
from typing import TextIO

SILENT_S = 10.0
CLEAR_LINE = "\r\033[K"


class Say:
    """One line a step; on a terminal the line of a long one changes as it goes on."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._step = ""
        self._began = self._last = 0.0

    def step(self, text: str) -> None:
        self._step = text
        self._began = self._last = time.monotonic()
        self._write(f"setup: {text} …", end="" if self._terminal else "\n")

    def detail(self, text: str) -> None:
        now = time.monotonic()
        if not self._terminal and now - self._last < SILENT_S:
            return
        self._last = now
        self._write(f"setup: {self._step}: {text}", end="" if self._terminal else "\n")

    def done(self) -> None:
        took_s = time.monotonic() - self._began
        self._write(f"setup: {self._step}: done in {took_s:.0f} s", end="\n")
        self._step = ""

    def fail(self, sentence: str) -> None:
        if self._terminal and self._step:
            self._out.write("\n")
        self._step = ""
        print(f"setup: {sentence}", file=self._out, flush=True)

    def _write(self, text: str, *, end: str) -> None:
        self._out.write((CLEAR_LINE if self._terminal else "") + text + end)
        self._out.flush()
