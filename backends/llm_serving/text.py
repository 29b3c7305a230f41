"""Text that grows token by token: whole characters only, and nothing of a stop string."""

import codecs
from typing import NamedTuple


class Utf8Stream:
    """Bytes in, whole characters out; what can never become one turns into U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def close(self) -> str:
        return self._decoder.decode(b"", final=True)


class Scanned(NamedTuple):
    text: str
    stopped: bool


class StopScanner:
    """Lets text pass up to a stop string; holds back what may turn out to begin one."""

    def __init__(self, stops: tuple[str, ...], *, include: bool) -> None:
        self._stops = stops
        self._include = include
        self._held = ""

    def feed(self, text: str) -> Scanned:
        seen = self._held + text
        found = [(at, stop) for stop in self._stops if (at := seen.find(stop)) >= 0]
        if found:
            at, stop = min(found, key=lambda hit: hit[0])
            self._held = ""
            return Scanned(seen[: at + len(stop)] if self._include else seen[:at], stopped=True)
        keep = max((_overlap(seen, stop) for stop in self._stops), default=0)
        self._held = seen[len(seen) - keep :]
        return Scanned(seen[: len(seen) - keep], stopped=False)

    def close(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a true beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
