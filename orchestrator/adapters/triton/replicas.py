"""Several Triton servers with the same models, as one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence, Set
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Self

from orchestrator.adapters.triton.choosing import cheaper_of_two, of_session
from orchestrator.adapters.triton.connection import READY_TIMEOUT_S, TritonConnection
from orchestrator.adapters.triton.errors import Unreachable
from orchestrator.adapters.triton.replica import SERVER, Replica
from orchestrator.adapters.triton.ring import Ring
from orchestrator.adapters.triton.wire import InferRequest, Outputs
from orchestrator.domain.errors import Unavailable

log = logging.getLogger(__name__)

WATCH_S = 1.0
_PROBE_BASE_S = 0.2
_PROBE_CAP_S = 5.0


class TritonReplicas:
    """An async context manager. Each request goes to one replica; one that fails before it has
    begun to answer goes to the next, and who failed it gets no more until a probe finds it well.

    A server that says nothing for READY_TIMEOUT_S, not even that it lives, is held for gone.
    When all are, requests are tried all the same.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        connect: Callable[[str], TritonConnection] = TritonConnection,
        clock: Callable[[], float] = time.monotonic,
        uniform: random.Random | None = None,
        watch_s: float = WATCH_S,
    ) -> None:
        """`urls` are host:port each."""
        self._replicas = [Replica(connect(url), clock) for url in dict.fromkeys(urls)]
        self._ring = Ring([replica.url for replica in self._replicas])
        self._clock = clock
        self._uniform = uniform or random.Random()  # noqa: S311 - no secret
        self._watch_s = watch_s
        self._opened = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            for replica in self._replicas:
                await opened.enter_async_context(replica.connection)
            self._opened = opened.pop_all()
        if len(self._replicas) > 1:
            self._do(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._opened.aclose()

    @property
    def connections(self) -> Sequence[TritonConnection]:
        """To each server, for what concerns all of them."""
        return [replica.connection for replica in self._replicas]

    async def infer(self, request: InferRequest, *, sent: Sequence[str] = ()) -> Outputs:
        """Raises: as `TritonConnection.infer`."""
        model, tried = request.model_name, set[str]()
        while True:
            replica = self._pick(model, tried)
            try:
                with replica.call(model) as call:
                    return await call.wait(model, replica.connection.infer(request, sent=sent))
            except Unavailable as error:
                self._failed(replica, model, error, tried)

    async def stream(
        self, request: InferRequest, *, sent: Sequence[str] = (), session: str = ""
    ) -> AsyncGenerator[Outputs, None]:
        """Those of one `session` go to one replica, for its prefix cache.

        Raises: as `TritonConnection.stream`.
        """
        model, tried = request.model_name, set[str]()
        while True:
            replica = self._pick(model, tried, session)
            with replica.call(model) as call:
                try:
                    opened = replica.connection.stream(request, sent=sent, session=session)
                    async with aclosing(opened) as outputs:
                        while True:
                            try:
                                output = await call.wait(model, anext(outputs))
                            except StopAsyncIteration:
                                return
                            yield output
                except Unavailable as error:
                    if call.begun:
                        self._take_out(replica, model, error)
                        raise
                    self._failed(replica, model, error, tried)

    async def ready(self, model: str) -> bool:
        """Says whether one of them answers now. Never raises."""
        return any(await asyncio.gather(*(r.connection.ready(model) for r in self._replicas)))

    async def max_batch_size(self, model: str) -> int:
        """Raises: as `TritonConnection.max_batch_size`."""
        tried = set[str]()
        while True:
            replica = self._pick(model, tried)
            try:
                return await replica.heard(model, replica.connection.max_batch_size(model))
            except Unavailable as error:
                self._failed(replica, model, error, tried)

    def _pick(self, model: str, tried: Set[str], session: str = "") -> Replica:
        left = [replica for replica in self._replicas if replica.url not in tried]
        able = [replica for replica in left if replica.takes(model)] or left
        if len(able) == 1:
            return able[0]
        now = self._clock()
        if session:
            return of_session(able, self._ring, session, model, now)
        return cheaper_of_two(able, model, now, self._uniform)

    def _failed(self, replica: Replica, model: str, error: Unavailable, tried: set[str]) -> None:
        """Raises the error when there is no other replica to try."""
        self._take_out(replica, model, error)
        tried.add(replica.url)
        if len(tried) == len(self._replicas):
            raise error

    def _take_out(self, replica: Replica, model: str, error: Unavailable) -> None:
        what = SERVER if isinstance(error, Unreachable) else model
        if len(self._replicas) == 1 or what in replica.out:
            return
        log.warning("Triton at %s gets no requests for now: %s", replica.url, error.message)
        replica.out.add(what)
        self._do(self._bring_back(replica, what))

    async def _bring_back(self, replica: Replica, what: str) -> None:
        ceiling = _PROBE_BASE_S
        while True:
            await asyncio.sleep(self._uniform.uniform(0.5, 1.0) * ceiling)
            if await _is_well(replica, what):
                break
            ceiling = min(2 * ceiling, _PROBE_CAP_S)
        replica.out.discard(what)
        log.info("Triton at %s gets requests again", replica.url)

    async def _watch(self) -> None:
        """Finds the servers that are stopped, or cut off: nobody says so to who waits for them."""
        while True:
            await asyncio.sleep(self._watch_s)
            await asyncio.gather(*(self._check(r) for r in self._replicas if r.busy))

    async def _check(self, replica: Replica) -> None:
        began = self._clock()
        well = await replica.connection.alive()
        if not well and replica.heard_s <= began:
            self._take_out(replica, SERVER, Unreachable(f"it is silent for {READY_TIMEOUT_S:g} s"))
            replica.leave()  # also who asked it although it was out

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _is_well(replica: Replica, what: str) -> bool:
    if what == SERVER:
        return await replica.connection.alive()
    return await replica.connection.ready(what)
