"""The trials by name, in the order they run."""

from collections.abc import Awaitable, Callable

from scripts.chaos_trials.ground import Conditions
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.trials import cuts, identical, kills, pauses, redis_kills

TRIALS: dict[str, Callable[[Conditions, Outcome], Awaitable[None]]] = {
    "kill": kills.run,
    "pause": pauses.run,
    "redis everysec": redis_kills.everysec,
    "redis always": redis_kills.always,
    "cut": cuts.run,
    "identical": identical.run,
}
