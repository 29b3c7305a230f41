"""The part of OpenVINO GenAI's continuous batching that the engine's loop needs."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from backends.llm_serving.sampling import SamplingParams


class Status(Enum):
    RUNNING = "running"
    FINISHED = "finished"
    OUT_OF_CACHE = "out of cache"


class Grown(NamedTuple):
    """What one sequence has grown by; log probabilities are 0 unless asked for."""

    ids: list[int]
    logprobs: list[float]
    finish_reason: str | None


class Counts(NamedTuple):
    """As of the last step."""

    scheduled: int
    kv_usage: float


class Generation(Protocol):
    def status(self) -> Status: ...

    def read(self) -> Grown:
        """All there is now of a request with one sequence; may be empty."""
        ...

    def read_finished(self) -> list[Grown]:
        """All that is unread of every sequence, once finished."""
        ...

    def cancel(self) -> None: ...


class Pipeline(Protocol):
    context_tokens: int
    eos_ids: frozenset[int]

    def encode(self, prompts: Sequence[str]) -> list[list[int]]: ...

    def add(
        self, request_id: int, ids: list[int], params: SamplingParams, max_new: int, *, scored: bool
    ) -> Generation: ...

    def step(self) -> None: ...

    def busy(self) -> bool: ...

    def counts(self) -> Counts: ...
