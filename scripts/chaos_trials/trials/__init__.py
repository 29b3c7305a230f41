"""The trials by name, in the order they run."""

from collections.abc import Awaitable, Callable

from scripts.chaos_trials.ground import Conditions
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.trials import (
    anywhere,
    cuts,
    flood,
    identical,
    kills,
    long_session,
    pauses,
    redis_kills,
    thousands,
    watchers,
)

TRIALS: dict[str, Callable[[Conditions, Outcome], Awaitable[None]]] = {
    "kill": kills.run,
    "kill anywhere": anywhere.run,
    "pause": pauses.run,
    "redis everysec": redis_kills.everysec,
    "redis always": redis_kills.always,
    "cut": cuts.run,
    "identical": identical.run,
    "thousands": thousands.run,
    "flood": flood.run,
    "shares": flood.shares,
    "long session": long_session.run,
    "watchers": watchers.run,
}
