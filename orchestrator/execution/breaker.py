"""A circuit breaker: stops asking what keeps failing, and finds out when it is back.

CLOSED ─failures in a row─▶ OPEN ─rest_s─▶ HALF_OPEN: one probe
  ▲                          ▲                 │
  └──────── it succeeds ─────┼─────────────────┤
                             └── it fails, or does not end
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    failures: int = 5  # in a row
    rest_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The right to make one call. Hand it back with what came of it."""

    round: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Resting:
    """No call now. `wait_s` is the least time until one may be made."""

    wait_s: float


class Breaker:
    """Tell it the end of each call that it admitted: `succeeded`, `failed` or `withdrawn`.

    What a call says that was admitted before the circuit changed is not counted, but for the
    success of a probe: where each takes longer than it is given, there would be no way back.
    """

    def __init__(
        self, policy: BreakerPolicy = BreakerPolicy(), *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._now = now
        self._circuit = Circuit.CLOSED
        self._round = 0
        self._failures = 0
        self._opened = 0.0
        self._probe_ends = math.inf  # of the probe that is on its way, if one is

    @property
    def circuit(self) -> Circuit:
        return self._circuit

    def admit(self, *, within_s: float) -> Admitted | Resting:
        """Asks for a call that has to end within that time: a probe that has not has failed."""
        wait_s = self.wait_s()
        if wait_s > 0:
            return Resting(wait_s)
        if self._circuit is Circuit.OPEN:
            self._become(Circuit.HALF_OPEN)
        if self._circuit is Circuit.HALF_OPEN:
            self._probe_ends = self._now() + within_s
        return Admitted(self._round, probe=self._circuit is Circuit.HALF_OPEN)

    def wait_s(self) -> float:
        """The least time until a call may be made; 0: now."""
        now = self._now()
        if now >= self._probe_ends:
            self._open(self._probe_ends)
        if self._circuit is Circuit.OPEN:
            return max(0.0, self._opened + self._policy.rest_s - now)
        return self._policy.rest_s if self._probe_ends < math.inf else 0.0

    def succeeded(self, admitted: Admitted) -> None:
        if admitted.probe and self._circuit is not Circuit.CLOSED:
            self._become(Circuit.CLOSED)
        elif admitted.round == self._round:
            self._failures = 0

    def failed(self, admitted: Admitted) -> None:
        if admitted.round != self._round:
            return
        self._failures += 1
        if self._circuit is Circuit.HALF_OPEN or self._failures >= self._policy.failures:
            self._open(self._now())

    def withdrawn(self, admitted: Admitted) -> None:
        """The call ended without saying anything of what it asked: it was cancelled."""
        if admitted.round == self._round:
            self._probe_ends = math.inf

    def _open(self, since: float) -> None:
        self._opened = since
        self._become(Circuit.OPEN)

    def _become(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._round += 1
        self._failures = 0
        self._probe_ends = math.inf
