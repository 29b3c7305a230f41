"""Finds out which callers have gone away.

Triton tells nobody: each call has to be asked, and one question is a round trip between two
processes, 50 to 150 µs of CPU. All are asked twice in a step of the engine, as far as that stays
within a share of one CPU: with many calls at once a round takes longer. A caller that says which
call it has cancelled has that one asked at once.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from backends.llm_serving.responder import Responder
from backends.llm_serving.trace import UNTRACED, Trace

MOST_SHARE = 0.25
ROUNDS_PER_STEP = 2
LONGEST_ROUND_S = 0.02
TYPICAL_CALL_S = 1e-4
CALL_WEIGHT = 0.1
SUSPECT_S = 0.02
SUSPECT_EVERY_S = 0.001


def asking_share(calls: int) -> float:
    """Of one CPU: a quarter for up to 16 calls, an eighth for 64, a sixteenth for 256.

    A round over n calls then takes time in proportion to n to the power of 1.5; a fixed share
    would give the first few hardly more than they need, or take throughput from hundreds.
    """
    return min(MOST_SHARE, 1 / math.sqrt(calls))


class Cadence:
    """How long to wait between rounds."""

    def __init__(self) -> None:
        self._call_s = TYPICAL_CALL_S

    def pause_s(self, calls: int, spent_s: float, step_s: float) -> float:
        """After a round that took `spent_s`; a round in which the CPU was away counts little."""
        spent_s = min(spent_s, 2 * self._call_s * calls)
        self._call_s += (spent_s / calls - self._call_s) * CALL_WEIGHT
        round_s = self._call_s * calls
        wanted_s = min(step_s / ROUNDS_PER_STEP, LONGEST_ROUND_S)
        return max(wanted_s, round_s / asking_share(calls)) - round_s


class _Suspect(NamedTuple):
    request_id: int
    responder: Responder
    until: float


class CancelWatch:
    """`step_s` gives what a step of the engine takes."""

    def __init__(
        self,
        calls: Callable[[], Mapping[int, Responder]],
        on_cancelled: Callable[[int], None],
        step_s: Callable[[], float],
        trace: Trace = UNTRACED,
        *,
        suspect_s: float = SUSPECT_S,
    ) -> None:
        self._calls = calls
        self._on_cancelled = on_cancelled
        self._step_s = step_s
        self._trace = trace
        self._suspect_s = suspect_s
        self._cadence = Cadence()
        self._suspects: dict[int, _Suspect] = {}
        self._suspects_due = 0.0
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cancel-watch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There are calls to watch again."""
        with self._wake:
            self._wake.notify()

    def suspect(self, request_id: int, responder: Responder) -> None:
        """Asks this call before all others, for `suspect_s`: a hint may overtake its cancel."""
        with self._wake:
            until = time.monotonic() + self._suspect_s
            self._suspects[request_id] = _Suspect(request_id, responder, until)
            self._suspects_due = 0.0
            self._wake.notify()

    def close(self) -> None:
        self._closing.set()
        self.wake()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            with self._wake:
                while not (calls := self._calls()) and not self._closing.is_set():
                    self._suspects.clear()
                    self._wake.wait()
            if self._closing.is_set():
                return
            began = time.monotonic()
            self._ask_all(calls)
            self._trace.note("asked", len(calls))
            pause_s = self._cadence.pause_s(len(calls), time.monotonic() - began, self._step_s())
            self._rest(pause_s)

    def _ask_all(self, calls: Mapping[int, Responder]) -> None:
        for request_id, responder in calls.items():
            self._ask_suspects()
            self._ask(request_id, responder)

    def _rest(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while True:
            self._ask_suspects()
            with self._wake:
                now = time.monotonic()
                if self._closing.is_set() or now >= end:
                    return
                next_at = min(end, self._suspects_due) if self._suspects else end
                if next_at > now:
                    self._wake.wait(next_at - now)

    def _ask_suspects(self) -> None:
        if not self._suspects or time.monotonic() < self._suspects_due:
            return
        with self._wake:
            suspects = list(self._suspects.values())
            self._suspects_due = time.monotonic() + SUSPECT_EVERY_S
        for one in suspects:
            if self._ask(one.request_id, one.responder) or time.monotonic() >= one.until:
                with self._wake:
                    self._suspects.pop(one.request_id, None)

    def _ask(self, request_id: int, responder: Responder) -> bool:
        if not responder.is_cancelled():
            return False
        self._on_cancelled(request_id)
        return True
