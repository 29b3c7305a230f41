"""Tells a model which call was just cancelled.

Triton 24.10 tells a Python model nothing: it has to ask about each of its calls, and with hundreds
of them it takes long to get to the one that was cancelled. A hint makes it ask about that one now.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc

from orchestrator.adapters.triton.wire import InferRequest, Stubs, cancel_hint


class CancelHints:
    """Sent to models that want them; a lost one costs nothing but the model's own round."""

    def __init__(self, stubs: Stubs, *, timeout_s: float) -> None:
        self._stubs = stubs
        self._timeout_s = timeout_s
        self._wanted: dict[str, bool] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, cancelled: InferRequest) -> None:
        """Of a request whose stream is cancelled already. Returns at once."""
        if cancelled.id and self._wanted.get(cancelled.model_name, True):
            task = asyncio.create_task(self._send(cancelled))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Once the channel is closed, which ends what is on its way."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, cancelled: InferRequest) -> None:
        model = cancelled.model_name
        with suppress(grpc.aio.AioRpcError):
            if model not in self._wanted:
                self._wanted[model] = await self._stubs.takes_cancel_hints(
                    model, timeout_s=self._timeout_s
                )
            if self._wanted[model]:
                async for _ in self._stubs.stream(
                    cancel_hint(cancelled), timeout_s=self._timeout_s
                ):
                    pass
