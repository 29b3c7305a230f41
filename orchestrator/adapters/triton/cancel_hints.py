"""Tells a model which call was just cancelled.

Triton 24.10 tells a Python model nothing: it has to ask about each of its calls, and with hundreds
of them it takes long to get to the one that was cancelled. A hint makes it ask about that one now.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc

from orchestrator.adapters.triton.wire import InferRequest, Stubs, cancel_hint

MOST_AT_ONCE = 256
"""One more is lost, so that a server that hangs does not gather them."""


class CancelHints:
    """Sent to models that want them; a lost one costs nothing but the model's own round."""

    def __init__(self, stubs: Stubs, *, timeout_s: float) -> None:
        self._stubs = stubs
        self._timeout_s = timeout_s
        self._wanted: dict[str, bool] = {}
        self._asking: dict[str, asyncio.Future[bool]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, cancelled: InferRequest) -> None:
        """Of a request whose stream is cancelled already. Returns at once."""
        wanted = self._wanted.get(cancelled.model_name, True)
        if cancelled.id and wanted and len(self._sending) < MOST_AT_ONCE:
            task = asyncio.create_task(self._send(cancelled))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Once the channel is closed, which ends what is on its way."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, cancelled: InferRequest) -> None:
        with suppress(grpc.aio.AioRpcError):
            if await self._wants_them(cancelled.model_name):
                async for _ in self._stubs.stream(
                    cancel_hint(cancelled), timeout_s=self._timeout_s
                ):
                    pass

    async def _wants_them(self, model: str) -> bool:
        """Asks once, also for many cancels at the same time."""
        if model not in self._wanted:
            if model not in self._asking:
                asked = self._stubs.takes_cancel_hints(model, timeout_s=self._timeout_s)
                self._asking[model] = asyncio.ensure_future(asked)
            try:
                self._wanted[model] = await self._asking[model]
            finally:
                self._asking.pop(model, None)
        return self._wanted[model]
