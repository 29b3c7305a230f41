"""Follows a run through restarts of the service, and answers what it asks meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from orchestrator.client.errors import CallError, call_error
from orchestrator.rpc.pb.fleet.v1 import runs_pb2

T = TypeVar("T")

_RETRY_EVERY_S = 0.25
_TERMINAL = {
    runs_pb2.RUN_STATE_COMPLETED,
    runs_pb2.RUN_STATE_FAILED,
    runs_pb2.RUN_STATE_CANCELLED,
}


@dataclass(slots=True)
class Patience:
    """How long failures are borne: counted from the first one after something went well."""

    limit_s: float
    on_wait: Callable[[CallError], None] = lambda _: None
    _since: float | None = None

    def went_well(self) -> None:
        self._since = None

    async def bear(self, failed: CallError) -> None:
        """Waits a moment before the next try.

        Raises:
            CallError: `failed`, when it can't pass by itself or has lasted too long.
        """
        now = time.monotonic()
        if self._since is None:
            if not failed.resumable:
                raise failed
            self._since = now
            self.on_wait(failed)
        elif not failed.resumable or now - self._since > self.limit_s:
            raise failed
        await asyncio.sleep(_RETRY_EVERY_S)


async def patiently(call: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """Repeats a call that may be sent twice until it is answered."""
    while True:
        try:
            return await call()
        except CallError as failed:
            await patience.bear(failed)


class Follower:
    """Yields a run's events, each once and in order.

    `opened` starts a stream after a run's event, of a run still to be started when its
    id is empty. `answer` is run beside it for each interrupt; what it raises ends it.
    """

    def __init__(
        self,
        opened: Callable[[str, int], Any],
        *,
        patience: Patience,
        answer: Callable[[str, runs_pb2.Interrupted], Awaitable[None]],
    ) -> None:
        self._open = opened
        self._patience = patience
        self._answer = answer
        self._answering: set[asyncio.Future[None]] = set()
        self._asked: set[str] = set()

    async def events(
        self, run_id: str = "", after_seq: int = 0
    ) -> AsyncGenerator[runs_pb2.RunEvent, None]:
        seq, seen_any, over = after_seq, False, False
        try:
            while not over:
                stream = self._open(run_id, seq)
                try:
                    while (event := await self._next(stream)) is not grpc.aio.EOF:
                        self._patience.went_well()
                        over = event.snapshot.run.state in _TERMINAL
                        if seen_any and event.seq <= seq:
                            continue  # the snapshot that begins every watch
                        run_id, seq, seen_any = event.run_id, event.seq, True
                        self._begin_to_answer(event)
                        yield event
                        if event.HasField("finished"):
                            return
                    if not over:
                        await asyncio.sleep(_RETRY_EVERY_S)
                except grpc.RpcError as error:
                    over = False
                    await self._patience.bear(call_error(error))
                finally:
                    stream.cancel()
        finally:
            for task in self._answering:
                task.cancel()
            await asyncio.gather(*self._answering, return_exceptions=True)

    def _begin_to_answer(self, event: runs_pb2.RunEvent) -> None:
        asked = event.interrupted.interrupt_id
        if asked and asked not in self._asked:
            self._asked.add(asked)
            work = self._answer(event.run_id, event.interrupted)
            self._answering.add(asyncio.ensure_future(work))

    async def _next(self, stream: Any) -> Any:
        """Returns the stream's next event, or raises what an answer failed with."""
        reading: asyncio.Future[Any] | None = None
        try:
            while self._answering:
                reading = reading or asyncio.ensure_future(stream.read())
                await asyncio.wait({reading, *self._answering}, return_when=asyncio.FIRST_COMPLETED)
                for task in {task for task in self._answering if task.done()}:
                    self._answering.discard(task)
                    task.result()
                if reading.done():
                    return reading.result()
            return await (reading or stream.read())
        finally:
            if reading is not None and not reading.done():
                reading.cancel()
                with suppress(asyncio.CancelledError, grpc.RpcError):
                    await reading
