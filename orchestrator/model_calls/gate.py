"""Whether one model is to be asked now: its breaker, its rate limit, its places."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from orchestrator.domain.chat import MalformedToolCall
from orchestrator.domain.errors import Exhausted, InvalidInput, Remedy, Unavailable
from orchestrator.execution.breaker import Admitted, Breaker, BreakerPolicy, Circuit, Resting
from orchestrator.execution.places import Places, PlacesTaken, WaitingRoom
from orchestrator.execution.retry import Backoff
from orchestrator.model_calls.metrics import GuardMetrics

RATE_LIMITED = "RATE_LIMITED"

_SAY_NOTHING = (InvalidInput, Exhausted)
"""Of the model: the request is wrong."""


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """`max_attempts` tries in all, with the waits of `backoff`, or what the provider asks for:
    up to `wait_s` it is sat out, for longer the model is left alone, at most `longest_rest_s`.

    A probe of a broken model has `probe_s` for the first piece of its answer. At a model's
    limit in flight up to `max_waiting` requests of a process wait for `place_s`. After
    `hedge_after_s` without a first piece a request is sent once more; 0: never.
    """

    max_attempts: int = 3
    backoff: Backoff = Backoff(base_s=0.2, cap_s=2.0)
    wait_s: float = 2.0
    longest_rest_s: float = 300.0
    breaker: BreakerPolicy = BreakerPolicy(failures=5, rest_s=5.0)
    probe_s: float = 15.0
    max_waiting: int = 16
    place_s: float = 5.0
    hedge_after_s: float = 0.0


class Gate:
    def __init__(
        self, model: str, policy: GuardPolicy, metrics: GuardMetrics, now: Callable[[], float]
    ) -> None:
        self._model = model
        self._policy = policy
        self._metrics = metrics
        self._now = now
        self._breaker = Breaker(policy.breaker, now=now)
        self._rests_until = 0.0
        self._rests_why = ""
        self._places = Places(0, WaitingRoom(0))

    @property
    def away(self) -> str:
        """Why it is not to be asked now, after "it is"; empty: it may be."""
        if (left_s := self._rests_until - self._now()) > 0:
            return f"{self._rests_why} for {math.ceil(left_s)} s"
        if (left_s := self._breaker.wait_s()) > 0:
            return f"resting for {math.ceil(left_s)} s after it failed several times"
        return f"full with {self._places.limit} requests in flight" if self._places.full else ""

    def leave_alone(self, for_s: float, why: str) -> None:
        """`why` goes before "for 30 s". A rest that is under way is never made shorter."""
        until = self._now() + min(for_s, self._policy.longest_rest_s)
        if until > self._rests_until:
            self._rests_until, self._rests_why = until, why

    @asynccontextmanager
    async def place(self, limit: int, room: WaitingRoom, *, within_s: float) -> AsyncIterator[None]:
        """Raises Unavailable: there are `limit` requests in flight, and stay so."""
        if limit != self._places.limit:
            self._places = Places(limit, room)
        until = asyncio.get_running_loop().time() + within_s
        try:
            async with self._places.taken(until=until):
                yield
        except PlacesTaken:
            raise self._unavailable(f"full with {limit} requests in flight") from None

    def admit(self) -> Try:
        """Raises Unavailable: it is not to be asked now."""
        if (left_s := self._rests_until - self._now()) > 0:
            raise self._unavailable(self.away, left_s)
        admitted = self._breaker.admit(within_s=self._policy.probe_s)
        if isinstance(admitted, Resting):
            raise self._unavailable(self.away, admitted.wait_s)
        self._show()
        return Try(self._breaker, admitted, self._show)

    def _show(self) -> None:
        self._metrics.circuit(self._model, self._breaker.circuit)

    def _unavailable(self, why: str, retry_after_s: float | None = None) -> Unavailable:
        return Unavailable(
            f"model {self._model} is {why}",
            reason="MODEL_UNAVAILABLE",
            retry_after_s=retry_after_s,
            remedy=Remedy.TRY_ANOTHER,
        )


class Try:
    """A context manager around one call: the breaker learns how it ended."""

    def __init__(self, breaker: Breaker, admitted: Admitted, show: Callable[[], None]) -> None:
        self._breaker = breaker
        self._admitted = admitted
        self._show = show
        self._told = False
        self.begun = False

    def begin(self) -> None:
        """To be told of the first chunk: a probe need not wait for the last one."""
        self.begun = True
        if self._breaker.circuit is not Circuit.CLOSED:
            self._breaker.succeeded(self._admitted)
            self._told = True
            self._show()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._told:
            self._judge(error)(self._admitted)
        self._show()

    def _judge(self, error: BaseException | None) -> Callable[[Admitted], None]:
        if error is None or isinstance(error, MalformedToolCall):
            return self._breaker.succeeded
        limited = isinstance(error, Unavailable) and error.reason == RATE_LIMITED
        if limited or isinstance(error, _SAY_NOTHING) or not isinstance(error, Exception):
            return self._breaker.withdrawn
        return self._breaker.failed
