"""The settings of serving that have nothing to do with the engine."""

from dataclasses import dataclass

from backends.llm_serving.coalescing import Coalescing
from backends.llm_serving.requests import Limits

LEAST_URGENT = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    coalescing: Coalescing = Coalescing()
    limits: Limits = Limits()
    drain_timeout_s: float = 20.0
    engine_restarts: int = 3
    """Deaths in a row that are answered with a new engine; serving a request ends the row."""
    when_engine_is_lost: str = "exit"
    """After `engine_restarts`: "exit" ends the stub, for a launcher that watches it; "unload"
    unloads the model, which Triton allows under explicit model control."""
    niceness: int = 0
    """Of the engine's process, from 0 to 19: what it yields to who hands it requests."""
    trace: str | None = None
    """A file that gets a line for each step, cancel and gauge; for measurements."""

    def __post_init__(self) -> None:
        if not 0 <= self.niceness <= LEAST_URGENT:
            raise ValueError(f"'niceness' must be from 0 to {LEAST_URGENT}, not {self.niceness}")
        if self.when_engine_is_lost not in {"exit", "unload"}:
            raise ValueError(
                f"'when_engine_is_lost' must be exit or unload, not {self.when_engine_is_lost}"
            )
