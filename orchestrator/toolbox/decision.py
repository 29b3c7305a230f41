"""What follows one try of a call: decided here, done in `call.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec

RETRY_AFTER_CAP_S = 60.0
BUSY_WAIT_S = (0.1, 0.5)

Draw = Callable[[float, float], float]
"""A number between two, as `random.uniform` draws it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The model gets the result."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Another try after `delay_s`; `elsewhere` gives the item back to the queue for it.

    `counts` says whether the try that ended used up an attempt.
    """

    delay_s: float
    elsewhere: bool = True
    counts: bool = True


@dataclass(frozen=True, slots=True)
class AskPerson:
    """It may have happened and must not happen twice: a person decides."""

    detail: str


Next = Finish | TryAgain | AskPerson


@dataclass(frozen=True, slots=True)
class Busy:
    """The call never began: all places of the tool are taken, here and now."""


def after(spec: ToolSpec, tried: ToolResult | Busy, *, attempt: int, draw: Draw) -> Next:
    """Decides what follows try number `attempt`."""
    if isinstance(tried, Busy):
        return TryAgain(draw(*BUSY_WAIT_S), counts=False)
    once = spec.effect is Effect.AT_MOST_ONCE
    match tried.outcome:
        case Outcome.OK | Outcome.FAILED:
            return Finish(tried)
        case Outcome.UNKNOWN if once:
            return AskPerson(tried.content)
        case _ if attempt >= spec.retry.max_attempts:
            return Finish(tried)
        case _:
            # The queue counts tries of a call, not whether they happened. A second one
            # of an at-most-once call would go to a person, so it waits where it is.
            return TryAgain(_delay_s(spec, tried, attempt, draw), elsewhere=not once)


def _delay_s(spec: ToolSpec, tried: ToolResult, attempt: int, draw: Draw) -> float:
    ceiling = min(spec.retry.cap_s, spec.retry.base_s * 2 ** min(attempt - 1, 30))
    return max(draw(0.0, ceiling), min(tried.retry_after_s, RETRY_AFTER_CAP_S))
