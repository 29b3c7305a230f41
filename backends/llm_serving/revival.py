"""Brings a dead engine back, a few times in a row at most."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from backends.llm_serving.errors import EngineFailed


@dataclass(frozen=True, slots=True)
class Hooks:
    start: Callable[[], None]
    """Raises EngineFailed."""
    on_down: Callable[[str], None]
    on_up: Callable[[], None]
    on_given_up: Callable[[str], None]


class Revival:
    def __init__(self, hooks: Hooks, restarts: int) -> None:
        self._hooks = hooks
        self._restarts = restarts
        self._deaths_in_a_row = 0
        self._stopping = False
        self._deaths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="revival", daemon=True)
        self._thread.start()

    def died(self, reason: str) -> None:
        self._deaths.put(reason)

    def served(self) -> None:
        """The engine works: the next death begins a new row."""
        self._deaths_in_a_row = 0

    def stop(self) -> None:
        """A start that has begun goes on; there is no other, and nothing is given up."""
        self._stopping = True
        self._deaths.put(None)

    def close(self) -> None:
        """Waits for a start that has begun."""
        self.stop()
        self._thread.join()

    def _watch(self) -> None:
        while (reason := self._deaths.get()) is not None:
            self._hooks.on_down(reason)
            if not self._revive(reason):
                if not self._stopping:
                    self._hooks.on_given_up(reason)
                return

    def _revive(self, reason: str) -> bool:
        while not self._stopping:
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > self._restarts:
                return False
            try:
                self._hooks.start()
            except EngineFailed as error:
                reason = str(error)
                self._hooks.on_down(reason)
            else:
                self._hooks.on_up()
                return True
        return False
