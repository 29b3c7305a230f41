"""What the pieces of one answer add up to, whoever writes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable

from orchestrator.adapters.provider_connection.answer_calls import AnswerCalls
from orchestrator.adapters.provider_connection.failures import filtered, unavailable
from orchestrator.domain.chat import (
    ChatRequest,
    FinishReason,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.runs import Usage

_BYTES_PER_TOKEN = 4
CONTENT_FILTER = "content_filter"


class UnreadablePiece(Exception):
    """A piece of the stream is not what the protocol says."""


class Answer(ABC):
    """Turns the pieces into chunks and counts tokens into the request's meter.

    Until the provider tells what the answer took it is an estimate: a token a piece, or as many
    as its bytes make.
    """

    def __init__(self, provider: str, request: ChatRequest, prompt_tokens: int) -> None:
        self._provider = provider
        self._request = request
        self._calls = AnswerCalls()
        self._said: list[str] = []
        self._pieces = 0
        self._bytes = 0
        self._told = False
        self._finish = FinishReason.STOP
        self._ended = ""  # the provider's word for why
        request.meter.usage = Usage(prompt_tokens=prompt_tokens)

    @property
    def usage(self) -> Usage:
        return self._request.meter.usage

    @property
    def confidence(self) -> float | None:
        return None

    @abstractmethod
    def _read(self, piece: object) -> str:
        """Takes a piece of the stream; returns the text in it for the user.

        Raises:
            UnreadablePiece, MalformedToolCall.
        """

    @abstractmethod
    def _reason(self, ended: str) -> FinishReason | None:
        """None where the provider's word means that the answer is not whole."""

    def feed(self, piece: object) -> list[TextChunk]:
        """Raises Unavailable, MalformedToolCall with the usage so far."""
        unreadable = False
        try:
            text = self._read(piece)
        except UnreadablePiece:
            unreadable = True
        except MalformedToolCall as malformed:
            raise self._retold(malformed, cut=False) from None
        if unreadable:
            raise unavailable(self._request.model, f"{self._provider} sent what can't be read")
        if not text:
            return []
        self._said.append(text)
        return [TextChunk(text)]

    def close(self) -> list[ToolCallChunk]:
        """Ends the answer; `reason` and `usage` are final from here on.

        Raises:
            Unavailable: the provider did not end the answer by itself.
            InvalidInput: CONTENT_FILTERED.
            MalformedToolCall: with the usage.
        """
        if self._ended == CONTENT_FILTER:
            raise filtered(self._request.model, self._provider)
        reason = self._reason(self._ended)
        if reason is None:
            why = self._ended[:40] or "there is no finish reason"
            what = f"{self._provider} broke off its answer ({why})"
            raise unavailable(self._request.model, what)
        self._finish = reason
        try:
            chunks = [ToolCallChunk(call) for call in self._calls.whole()]
        except MalformedToolCall as malformed:
            raise self._retold(malformed, cut=reason is FinishReason.LENGTH) from None
        if reason is not FinishReason.LENGTH:
            self._finish = FinishReason.TOOL_CALLS if chunks else FinishReason.STOP
        return chunks

    @property
    def reason(self) -> FinishReason:
        return self._finish

    def _name(self, key: Hashable, name: str) -> None:
        if not self._request.output:
            self._calls.name(key, name)

    def _arguments(self, key: Hashable, text: str) -> None:
        self._took(text)
        if not self._request.output:
            self._calls.arguments(key, text)

    def _took(self, text: str) -> None:
        """Counts what the model wrote, shown or not."""
        if self._told or not text:
            return
        self._pieces += 1
        self._bytes += len(text.encode())
        tokens = max(self._pieces, -(-self._bytes // _BYTES_PER_TOKEN))
        self._request.meter.usage = self.usage.model_copy(update={"completion_tokens": tokens})

    def _counted(self, usage: Usage) -> None:
        """The provider's own count, from here on."""
        self._told = True
        self._request.meter.usage = usage

    def _retold(self, malformed: MalformedToolCall, *, cut: bool) -> MalformedToolCall:
        why = ", cut off by its token limit" if cut else ""
        said = "".join(self._said) + self._calls.said()
        return MalformedToolCall(malformed.detail + why, self.usage, said)


def members(piece: object) -> dict[str, object]:
    """Raises UnreadablePiece."""
    if not isinstance(piece, dict):
        raise UnreadablePiece
    return piece


def elements(piece: object) -> list[object]:
    """Raises UnreadablePiece; nothing at all is an empty list."""
    if piece is None:
        return []
    if not isinstance(piece, list):
        raise UnreadablePiece
    return piece


def text(piece: object) -> str:
    """Raises UnreadablePiece; nothing at all is an empty text.

    Half of a character, which JSON can hold, becomes a question mark.
    """
    if piece is None:
        return ""
    if not isinstance(piece, str):
        raise UnreadablePiece
    return piece if piece.isascii() else piece.encode("utf-8", "replace").decode()


def count(piece: object) -> int:
    return piece if isinstance(piece, int) and piece > 0 else 0
