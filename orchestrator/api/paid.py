"""Answers that belong to no run, on the tenant's bill."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import suppress

from orchestrator.api.streams import closing
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, MalformedToolCall
from orchestrator.domain.errors import FleetError, Unavailable
from orchestrator.domain.runs import CallOutcome, ModelCall
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.ledger import Ledger, Reservation
from orchestrator.ports.models import LanguageModel

log = logging.getLogger(__name__)

_BOOKING_S = 15.0
"""How long a store that is away is waited for: less than it knows a booking that is repeated."""


class PaidModels:
    """Reserves what an answer may cost before a model is asked, and books what it took.

    As in a run, a model that refuses or breaks off is not paid; an answer that is left is, for
    what had come of it.
    """

    def __init__(self, language: LanguageModel, ledger: Ledger) -> None:
        self._language = language
        self._ledger = ledger
        self._settling: set[asyncio.Task[None]] = set()

    async def chat(self, entry: ModelEntry, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Raises Exhausted BUDGET: a budget of `request.tenant` is spent, or reserved."""
        reservation = await self._reserved(request.tenant, entry.most_micros)
        calls: tuple[ModelCall, ...] = ()
        try:
            async with closing(self._language.chat(request)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, ChatFinished):
                        outcome = CallOutcome.CACHED if chunk.cached else CallOutcome.USED
                        calls = (entry.call(chunk.usage, outcome),)
                    yield chunk
        except MalformedToolCall as malformed:
            calls = (entry.call(malformed.usage, _outcome(request, CallOutcome.REJECTED)),)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if not calls and request.meter.usage.tokens:
                outcome = _outcome(request, CallOutcome.CUT_SHORT)
                calls = (entry.call(request.meter.usage, outcome),)
            raise
        finally:
            await self._settle(reservation, calls)

    async def _reserved(self, tenant: str, micros: int) -> Reservation:
        """Who leaves before the reply would hold the rest of the budget until it expires."""
        reserving = asyncio.create_task(self._ledger.reserve(tenant, "", micros))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._lasting(self._given_back(reserving))
            raise

    async def _given_back(self, reserving: asyncio.Task[Reservation]) -> None:
        with suppress(FleetError):  # nothing was reserved
            await self._booked(await reserving, ())

    async def _settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        """Whoever asked may be gone: what was taken is booked all the same."""
        await asyncio.shield(self._lasting(self._booked(reservation, calls)))

    def _lasting(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _booked(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        give_up = time.monotonic() + _BOOKING_S
        waits = full_jitter(base_s=0.1, cap_s=1.0)
        try:
            while True:
                try:
                    return await self._ledger.settle(reservation, calls)
                except Unavailable:
                    if time.monotonic() > give_up:
                        raise
                await asyncio.sleep(next(waits))
        except FleetError as error:
            log.error(  # noqa: TRY400 - where it was raised says nothing
                "tenant %s: %s could not be booked: %s",
                reservation.tenant,
                ", ".join(f"{call.usage.cost_micros} micros of {call.model}" for call in calls)
                or "the end of a call",
                error.message,
            )


def _outcome(request: ChatRequest, asked: CallOutcome) -> CallOutcome:
    """Somebody else pays for an answer that is shared."""
    return CallOutcome.CACHED if request.meter.cached else asked
