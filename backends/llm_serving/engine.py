"""The port to a language model engine that batches continuously."""

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

from backends.llm_serving.sampling import SamplingParams


class TokenLogprob(NamedTuple):
    token_id: int
    logprob: float
    text: str
    rank: int | None = None
    """1 for the likeliest; None where the engine does not say."""


class Piece(NamedTuple):
    """What one sequence of a request has grown by since its last piece."""

    text: str
    tokens: int
    finish_reason: str | None = None
    cumulative_logprob: float = 0.0
    """Over all tokens so far, not over this piece."""
    logprobs: tuple[tuple[TokenLogprob, ...], ...] | None = None
    """For each token, itself and what else was likely."""


class Chunk(NamedTuple):
    request_id: int
    pieces: tuple[Piece, ...]
    """One per sequence (`n` of them)."""
    final: bool
    prompt_tokens: int


class Refusal(NamedTuple):
    """The engine cannot serve this request; the others go on."""

    request_id: int
    message: str
    callers_fault: bool


class Load(NamedTuple):
    """As of the engine's last step, less what has left since."""

    running: int
    waiting: int
    kv_usage: float
    """From 0 to 1."""
    steps: int
    """Since the engine's start."""
    step_s: float = 0.0
    """What a step takes of late."""


class Report(NamedTuple):
    chunks: tuple[Chunk, ...]
    refusals: tuple[Refusal, ...]
    load: Load


class Listener(Protocol):
    def report(self, report: Report) -> None: ...

    def died(self, reason: str) -> None: ...


class EngineRequest(NamedTuple):
    request_id: int
    prompt: str
    params: SamplingParams
    stream: bool
    scored: bool = False
    """Whether pieces must carry log probabilities."""


class Engine(ABC):
    """Calls its listener from a thread of its own; never after `close` has returned.

    A request ends with a final chunk or a refusal. A cancelled one ends without either, and a
    listener that hears `died` hears nothing more until `start` is called again.
    """

    @abstractmethod
    def start(self, listener: Listener) -> None:
        """Returns when the engine can take requests; raises EngineFailed."""

    @abstractmethod
    def check(self, request: EngineRequest) -> None:
        """Raises InvalidRequest, naming what this engine does not honour."""

    @abstractmethod
    def submit(self, request: EngineRequest) -> None:
        """Raises Unavailable when the engine is down."""

    @abstractmethod
    def cancel(self, request_id: int) -> None:
        """Takes the request out before the next step; unknown ids are ignored."""

    @abstractmethod
    def close(self) -> None: ...
