"""Threads for functions that block. A hung one costs its thread, never the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any


class NoThread(Exception):
    """All threads that the tool may have are busy: nothing happened."""


class Threads:
    """At most `limit` at once, of which one tool gets at most half unless it says more.

    A thread can't be stopped: it stays counted until its function returns. They are
    daemons, so that a hung one does not keep the process from ending.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy: Counter[str] = Counter()

    def busy(self, name: str) -> int:
        return self._busy[name]

    async def run(self, name: str, work: Callable[[], Any], *, share: int = 0) -> Any:
        """Runs `work` in a thread; raises what it raises.

        Raises:
            NoThread: none is free for `name`, which gets at most `share` (0: half of all).
        """
        most = min(share or max(1, self._limit // 2), self._limit)
        if self._busy[name] >= most or self._busy.total() >= self._limit:
            raise NoThread(f"{self._busy[name]} of its {most} threads are busy")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def carry_out() -> None:
            try:
                value, error = context.run(work), None
            except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
                value, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._ended, name, done, value, error)

        self._busy[name] += 1
        threading.Thread(target=carry_out, name=f"tool {name}", daemon=True).start()
        return await done

    def _ended(
        self, name: str, done: asyncio.Future[Any], value: Any, error: BaseException | None
    ) -> None:
        self._busy[name] -= 1
        if done.done():  # nobody waits any more
            return
        if error is None:
            done.set_result(value)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            done.set_exception(error)
        else:
            done.set_exception(RuntimeError(f"the tool raised {type(error).__name__}"))
