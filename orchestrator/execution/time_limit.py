"""A limit on what can't be stopped otherwise, such as the match of a pattern."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class TimeUp(Exception):
    """The block took longer than it may."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeUp inside the block after so much processor time of this process.

    A match holds the interpreter's lock, so no other thread could end it, but it looks for
    signals. These reach the main thread alone: in others nothing is limited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _ring(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise TimeUp
