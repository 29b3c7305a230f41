"""Limits on work that can't be stopped otherwise."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

import pytest

from orchestrator.execution.time_limit import TimeUp, within


def endless() -> None:
    while True:
        pass


def test_work_without_an_end_is_ended_and_other_work_gives_its_result() -> None:
    with pytest.raises(TimeUp):
        within(0.01, endless)
    assert within(10, lambda: 7) == 7
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_in_another_thread_work_runs_without_a_limit() -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(within(1e-6, lambda: sum(range(10**5)))))
    thread.start()
    thread.join()
    assert done == [sum(range(10**5))]


def test_a_signal_that_another_thread_gets_is_heard_in_the_work_or_never() -> None:
    go_on = threading.Event()
    # Whichever thread computes gets the signal, and the main one may hear of it much later.
    other = threading.Thread(target=go_on.wait)
    other.start()
    try:
        for _ in range(1000):
            with suppress(TimeUp):
                within(10, lambda: signal.pthread_kill(other.ident or 0, signal.SIGVTALRM))
            signal.raise_signal(signal.SIGVTALRM)
    finally:
        go_on.set()
        other.join()


def test_a_signal_that_comes_after_the_work_does_not_end_the_process() -> None:
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    within(10, lambda: None)
    signal.raise_signal(signal.SIGVTALRM)
