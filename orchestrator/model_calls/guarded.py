"""What is done when a call of a model fails, before anybody hears of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatRequest
from orchestrator.domain.errors import Remedy, Unavailable
from orchestrator.execution.places import WaitingRoom
from orchestrator.model_calls.gate import RATE_LIMITED, Gate, GuardPolicy
from orchestrator.model_calls.hedged import hedged
from orchestrator.model_calls.metrics import GuardMetrics
from orchestrator.ports.models import LanguageModel

log = logging.getLogger(__name__)

_POLICY = GuardPolicy()


class Guarded(LanguageModel):
    """Makes a failed call again while nothing of its answer was given out, leaves a model alone
    that keeps failing or asks for it, and keeps to the limit of its requests in flight.

    An Unavailable that comes out was tried here as often as helps: another model may do better.
    """

    def __init__(
        self,
        inner: LanguageModel,
        catalogue: Catalogue,
        metrics: GuardMetrics,
        policy: GuardPolicy = _POLICY,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._catalogue = catalogue
        self._metrics = metrics
        self._policy = policy
        self._now = now
        self._sleep = sleep
        self._room = WaitingRoom(policy.max_waiting)
        self._gates: dict[str, Gate] = {}

    def unready(self) -> Mapping[str, str]:
        """The models that are not to be asked now, and why: "rate limited for 30 s"."""
        return {name: why for name, gate in self._gates.items() if (why := gate.away)}

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        entry = self._catalogue.get(request.model)
        if entry is None:  # beneath they know what to say
            async with aclosing(self._inner.chat(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        gate = self._gate(entry.name)
        async with gate.place(entry.max_in_flight, self._room, within_s=self._policy.place_s):
            for attempt in itertools.count(1):
                this_try = gate.admit()
                try:
                    with this_try:
                        async with aclosing(self._asked(request, entry, gate)) as chunks:
                            async for chunk in chunks:
                                if not this_try.begun:
                                    this_try.begin()
                                yield chunk
                    return  # noqa: TRY300 - of a loop
                except Unavailable as error:
                    if this_try.begun or error.remedy is Remedy.GIVE_UP:
                        raise
                    wait_s = self._wait_s(error, attempt, gate, entry.name)
                await self._sleep(wait_s)

    async def ready(self, model: str) -> bool:
        gate = self._gates.get(model)
        return not (gate and gate.away) and await self._inner.ready(model)

    def _gate(self, model: str) -> Gate:
        gate = self._gates.get(model)
        if gate is None:
            gate = self._gates[model] = Gate(model, self._policy, self._metrics, self._now)
        return gate

    def _asked(
        self, request: ChatRequest, entry: ModelEntry, gate: Gate
    ) -> AsyncGenerator[ChatChunk, None]:
        if not self._policy.hedge_after_s:
            return self._inner.chat(request)
        return hedged(
            self._inner,
            request,
            after_s=self._policy.hedge_after_s,
            place=lambda: gate.place(entry.max_in_flight, self._room, within_s=0.0),
            on_hedge=lambda: self._metrics.hedged(entry.name),
        )

    def _wait_s(self, error: Unavailable, attempt: int, gate: Gate, model: str) -> float:
        """How long to wait before the next try; raises the error when there is none here."""
        limited, asked_s = error.reason == RATE_LIMITED, error.retry_after_s
        if limited:
            self._metrics.rate_limited(model)
        soon = asked_s is not None and asked_s <= self._policy.wait_s
        another = error.remedy is Remedy.TRY_ANOTHER and not (limited and soon)
        long = asked_s is not None and not soon
        if another or long or attempt >= self._policy.max_attempts:
            if limited or long:
                why = "rate limited" if limited else "overloaded"
                gate.leave_alone(asked_s or self._policy.breaker.rest_s, why)
            error.remedy = Remedy.TRY_ANOTHER
            raise error
        self._metrics.retried(model)
        log.info("model %s is asked again: %s", model, error.reason)
        return (asked_s or 0.0) + self._policy.backoff.delay_s(attempt)
