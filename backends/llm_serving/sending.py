"""Sends replies away from the engine's and the intake's threads, each call's in order."""

import queue
import threading
from collections.abc import Callable

from backends.llm_serving.errors import LlmError
from backends.llm_serving.responder import Reply, Responder

_Item = tuple[Responder, Reply | LlmError]


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
        for thread in self._threads:
            thread.start()

    def send(self, lane: int, responder: Responder, what: Reply | LlmError) -> None:
        """Calls with the same `lane` keep their order."""
        self._queues[lane % len(self._queues)].put((responder, what))

    def close(self) -> None:
        """Returns when everything handed in has been sent."""
        for mine in self._queues:
            mine.put(None)
        for thread in self._threads:
            thread.join()

    def _send_on(self, mine: "queue.SimpleQueue[_Item | None]") -> None:
        while (item := mine.get()) is not None:
            responder, what = item
            try:
                if isinstance(what, LlmError):
                    responder.fail(what)
                else:
                    responder.reply(what)
            except Exception as error:  # noqa: BLE001
                # A caller that has gone away must not stop the others' answers.
                self._on_error(error)
