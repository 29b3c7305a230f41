"""Finds out which callers have gone away.

Triton tells nobody: each call has to be asked, and one question is a round trip between two
processes. The share of time spent asking is bounded, so with hundreds of calls at once a round
takes longer.
"""

import threading
import time
from collections.abc import Callable, Mapping

from backends.llm_serving.responder import Responder

ASKING_SHARE = 0.05
FEW_CALLS = 16
ASKING_SHARE_OF_FEW = 0.2
LEAST_PAUSE_S = 0.002


class CancelWatch:
    def __init__(
        self, calls: Callable[[], Mapping[int, Responder]], on_cancelled: Callable[[int], None]
    ) -> None:
        self._calls = calls
        self._on_cancelled = on_cancelled
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cancel-watch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There are calls to watch again."""
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        self._closing.set()
        self.wake()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            with self._wake:
                while not (calls := self._calls()) and not self._closing.is_set():
                    self._wake.wait()
            if self._closing.is_set():
                return
            began = time.monotonic()
            for request_id, responder in calls.items():
                if responder.is_cancelled():
                    self._on_cancelled(request_id)
            spent = time.monotonic() - began
            share = ASKING_SHARE_OF_FEW if len(calls) <= FEW_CALLS else ASKING_SHARE
            self._closing.wait(max(LEAST_PAUSE_S, spent / share))
