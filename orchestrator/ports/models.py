"""The models: chat, classification, embedding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatRequest
from orchestrator.domain.routing import Classification


class LanguageModel(ABC):
    """One provider's chat models."""

    @abstractmethod
    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Streams the answer; the last chunk is `ChatFinished`.

        Closing the iterator early stops the engine.

        Raises:
            InvalidInput: the model can't take this request: a parameter, or CONTEXT_LENGTH
                with `prompt_tokens` and `limit_tokens` in the metadata.
            Exhausted: BUDGET, the allowance is too small; no inference was begun.
            Unavailable: MODEL_UNAVAILABLE.
            MalformedToolCall: the model wrote a tool call that can't be read.
        """

    @abstractmethod
    async def ready(self, model: str) -> bool:
        """Says whether the model answers now. Never raises."""


class ModelVersions(ABC):
    @abstractmethod
    async def version(self, entry: ModelEntry) -> str:
        """Returns what tells the weights that serve this entry now from others of the same name.

        Raises:
            Unavailable: it can't be told now.
        """


class RequestClassifier(ABC):
    @abstractmethod
    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        """Returns one classification a text, in order.

        Raises:
            InvalidInput: a text is empty.
            Unavailable: MODEL_UNAVAILABLE.
        """


class Embedder(ABC):
    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Returns one L2-normalised vector of 384 floats a text, in order.

        Raises: as `RequestClassifier.classify`.
        """


class EngineGauges(ABC):
    """What the engines that answer say of themselves."""

    @abstractmethod
    def waiting(self, model: str) -> int | None:
        """Returns how many requests the engine has taken in and not begun.

        At once and from memory: a value is never older than a second, and None is not known.
        Asking makes for newer ones.
        """
