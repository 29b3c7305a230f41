"""Sends a step's events to the store without making the model wait."""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import Payload, StepRestarted, TextDelta
from orchestrator.domain.work import Lease
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.state import RunStore


class Events(Protocol):
    """Where an answer's events go."""

    def put(self, payload: Payload) -> None: ...


class Emitter:
    """One write in flight; what comes meanwhile joins the next one.

    Under load deltas so merge by themselves; alone each goes out at once. What is not on
    its way when the step ends is for the commit to write.
    """

    def __init__(self, runs: RunStore, lease: Lease) -> None:
        self._runs = runs
        self._lease = lease
        self._waiting: list[Payload] = []
        self._starting: asyncio.Handle | None = None
        self._sending: asyncio.Task[None] | None = None

    def put(self, payload: Payload) -> None:
        """Adds an event.

        Raises:
            StaleLease: an earlier write was refused; the step is no longer ours.
        """
        last = self._waiting[-1] if self._waiting else None
        if isinstance(payload, TextDelta) and isinstance(last, TextDelta):
            self._waiting[-1] = TextDelta(text=last.text + payload.text)
        else:
            self._waiting.append(payload)
        if self._sending is not None and self._sending.done():
            self._sending.result()
            self._sending = None
        if self._sending is None and self._starting is None:
            # Not before the model's next chunk is waited for: if it has ended by then,
            # the commit takes the text along, and a round trip is saved.
            self._starting = asyncio.get_running_loop().call_soon(self._start)

    async def rest(self) -> list[Payload]:
        """Returns what was not written, for the commit. Nothing may be put any more.

        Raises: as `put`.
        """
        rest, self._waiting = self._waiting, []
        self._unstart()
        if self._sending is not None:
            await self._sending
            self._sending = None
        return rest

    async def close(self) -> None:
        """Ends the write in flight; what was not written is dropped."""
        self._unstart()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _unstart(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    def _start(self) -> None:
        self._starting = None
        self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._emit(batch)

    async def _emit(self, batch: list[Payload]) -> None:
        """Tries again while the store is away: the write is safe to repeat."""
        waits = full_jitter(base_s=0.05, cap_s=1.0)
        while True:
            try:
                await self._runs.emit(self._lease, batch)
            except Unavailable:
                await asyncio.sleep(next(waits))
            else:
                return


class Held:
    """Keeps text back until it is known to count: nobody sees what is taken back."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._text: list[TextDelta] = []

    def put(self, payload: Payload) -> None:
        match payload:
            case TextDelta():
                self._text.append(payload)
            case StepRestarted():
                self._text.clear()
            case _:
                self._events.put(payload)

    def release(self) -> None:
        for delta in self._text:
            self._events.put(delta)
