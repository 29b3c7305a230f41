"""Notices that Triton unloads the model.

Triton finalizes a model once its last request is gone, and says nothing before. So a long call
would hold an unload up, and 2.51 may keep a request for ever: one whose caller cancelled, or just
left, while its last response was being written.
"""

import threading
from collections.abc import Callable

ASK_EVERY_S = 0.5
ANSWERS = 2
"""In a row that make an unload: while a new version takes an old one's place, one may be wrong."""


class UnloadWatch:
    """Calls `on_unload`, once, when a model that was ready is ready no longer.

    An `is_ready` that raises says nothing.
    """

    def __init__(
        self,
        is_ready: Callable[[], bool],
        on_unload: Callable[[], None],
        *,
        every_s: float = ASK_EVERY_S,
    ) -> None:
        self._is_ready = is_ready
        self._on_unload = on_unload
        self._every_s = every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="unload-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits for an `on_unload` that has begun."""
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        was_ready, unready = False, 0
        while not self._closing.wait(self._every_s):
            try:
                ready = self._is_ready()
            except Exception:  # noqa: BLE001, S112
                continue
            was_ready |= ready
            unready = unready + 1 if was_ready and not ready else 0
            if unready == ANSWERS:
                self._on_unload()
                return
