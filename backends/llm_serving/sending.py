"""Sends replies away from the engine's and the intake's threads, each call's in order."""

import queue
import threading
import time
from collections.abc import Callable

from backends.llm_serving.errors import LlmError
from backends.llm_serving.responder import Reply, Responder

_Item = tuple[Responder, Reply | LlmError]

LATE_S = 0.3
"""Triton 2.51 may crash when a call's final response meets its cancellation: it gets this long."""


class Senders:
    def __init__(self, threads: int, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._queues: list[queue.SimpleQueue[_Item | None]] = [
            queue.SimpleQueue() for _ in range(threads)
        ]
        self._threads = [
            threading.Thread(target=self._send_on, args=(mine,), name="sender", daemon=True)
            for mine in self._queues
        ]
        self._late: queue.SimpleQueue[tuple[float, _Item] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._threads.append(
            threading.Thread(target=self._send_late, name="late sender", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def send(self, lane: int, responder: Responder, what: Reply | LlmError) -> None:
        """Calls with the same `lane` keep their order."""
        self._queues[lane % len(self._queues)].put((responder, what))

    def end_cancelled(self, responder: Responder, error: LlmError) -> None:
        """Ends a call that its caller has left, `LATE_S` from now: nobody waits for it."""
        self._late.put((time.monotonic() + LATE_S, (responder, error)))

    def close(self) -> None:
        """Returns when everything handed in has been sent."""
        self._closing.set()
        self._late.put(None)
        for mine in self._queues:
            mine.put(None)
        for thread in self._threads:
            thread.join()

    def _send_late(self) -> None:
        while (late := self._late.get()) is not None:
            due, item = late
            self._closing.wait(max(0.0, due - time.monotonic()))
            self._deliver(*item)

    def _send_on(self, mine: "queue.SimpleQueue[_Item | None]") -> None:
        while (item := mine.get()) is not None:
            self._deliver(*item)

    def _deliver(self, responder: Responder, what: Reply | LlmError) -> None:
        try:
            if isinstance(what, LlmError):
                responder.fail(what)
            else:
                responder.reply(what)
        except Exception as error:  # noqa: BLE001
            # A caller that has gone away must not stop the others' answers.
            self._on_error(error)
