"""When things happen, for measurements: one line an event, by the machine's monotonic clock."""

import os
import time
from typing import NamedTuple


class Event(NamedTuple):
    at_ns: int
    """Of CLOCK_MONOTONIC, which all processes of a machine share."""
    name: str
    value: int

    @classmethod
    def parse(cls, line: str) -> "Event":
        at_ns, name, value = line.split()
        return cls(int(at_ns), name, int(value))


class Trace:
    """Several processes may write to one file; without a path nothing is written."""

    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = None if path is None else os.open(path, flags, 0o600)

    def note(self, name: str, value: int) -> None:
        if self._file is not None:
            # One write is one line, whoever else appends.
            os.write(self._file, f"{time.monotonic_ns()} {name} {value}\n".encode())


UNTRACED = Trace(None)
