"""The trials by name, in the order they run."""

from collections.abc import Awaitable, Callable

from scripts.chaos_trials.ground import Conditions
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.trials import kills

TRIALS: dict[str, Callable[[Conditions, Outcome], Awaitable[None]]] = {
    "kill": kills.run,
}
