"""A limit on what can't be stopped otherwise, such as the match of a pattern."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class TimeUp(Exception):
    """The work took longer than it may."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Does the work, unless it takes more processor time of this process. Not inside itself.

    A match holds the interpreter's lock, so no other thread could end it, but it looks for
    signals. These reach the main thread alone: in others nothing is limited.

    Raises:
        TimeUp
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    running = False

    def ring(_number: int, _frame: FrameType | None) -> None:
        if running:
            raise TimeUp

    signal.signal(signal.SIGVTALRM, ring)  # before it is armed: it hears what came late
    try:
        running = True
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        return work()
    finally:
        # The handler stays: a signal that another thread got may be heard at any call from here
        # on, and would end the process if there were none.
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
