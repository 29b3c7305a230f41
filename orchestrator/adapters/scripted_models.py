"""Models that play a script: for tests, and to try the service with no model at all.

model = ScriptedLanguageModel(
    [
        ['<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}}</tool_call>'],
        ["It is ", "42."],
    ]
)
"""

from __future__ import annotations

import asyncio
import math
import re
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from hashlib import shake_128

from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    FinishReason,
    MalformedToolCall,
    ToolCallChunk,
)
from orchestrator.domain.errors import FleetError, Internal, InvalidInput
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import Usage
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.tool_calls import parser_for
from orchestrator.tool_calls.call_ids import numbered
from orchestrator.tool_calls.parser import Piece, ToolCallParser
from orchestrator.tool_calls.plain_text import PlainText

Cue = str | asyncio.Event | Exception | FinishReason | float
"""A text is streamed, an event waited for, an exception raised; a finish reason ends the turn,
and a number is how sure the model says that it is, if it is asked.
"""

Turn = Sequence[Cue]
DIMENSIONS = 384
_NO_LIMIT = 1 << 31
CERTAIN = Classification(task={"conversation": 1.0}, complexity={"simple": 1.0}, risk={"low": 1.0})


class ScriptedLanguageModel(LanguageModel):
    """Plays one turn a request, in order, or the turn that a function makes of the request.

    Tool calls are written in the text, in `tool_format`. A token is a word, and a prompt may
    have `context_tokens`. `requests` has every request that was answered so far, `refused` the
    others, `stopped` counts the answers that were closed before their end, and models in
    `unready` are not ready. An allowance is checked against the prompt, and what the script
    says is cut off where it ends.
    """

    def __init__(
        self,
        script: Iterable[Turn] | Callable[[ChatRequest], Turn],
        *,
        tool_format: str = "hermes",
        context_tokens: int | None = None,
    ) -> None:
        self._context_tokens = context_tokens
        self._turn_for = script if callable(script) else _in_order(script)
        self._tool_format = tool_format
        self.requests: list[ChatRequest] = []
        self.refused: list[ChatRequest] = []
        self.unready: set[str] = set()
        self.stopped = 0

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        room = self._room(request)
        self.requests.append(request)
        played = _Playing(self._tool_format, request)
        try:
            for cue in self._turn_for(request):
                match cue:
                    case FinishReason():
                        played.reason = cue
                        break
                    case str():
                        said = cue if room == _NO_LIMIT else _first_words(cue, room - played.words)
                        for piece in played.feed(said):
                            yield piece
                        if len(said) < len(cue):
                            played.reason = FinishReason.LENGTH
                            break
                    case asyncio.Event():
                        await cue.wait()
                    case float():
                        played.confidence = cue if request.confidence else None
                    case Exception():
                        raise cue
            for piece in played.close():
                yield piece
            yield played.finished()
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += not played.ended
            raise

    async def ready(self, model: str) -> bool:
        return model not in self.unready

    def _room(self, request: ChatRequest) -> int:
        """How many words the answer may have."""
        tokens = _prompt_tokens(request)
        try:
            if self._context_tokens is not None and tokens > self._context_tokens:
                raise _too_long(tokens, self._context_tokens)
            return request.allowance.new_tokens(tokens, _NO_LIMIT)
        except FleetError:
            self.refused.append(request)
            raise


class ScriptedClassifier(RequestClassifier):
    """Gives every text the same classification, or the one that a function makes of it."""

    def __init__(
        self, classification: Classification | Callable[[str], Classification] = CERTAIN
    ) -> None:
        self._classification = classification

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        _refuse_empty(texts)
        given = self._classification
        if isinstance(given, Classification):
            return (given,) * len(texts)
        return tuple(map(given, texts))


class ScriptedEmbedder(Embedder):
    """Equal texts have equal vectors, others unrelated ones."""

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        _refuse_empty(texts)
        return tuple(map(_vector, texts))


class _Playing:
    """The answer so far."""

    def __init__(self, tool_format: str, request: ChatRequest) -> None:
        # As an engine that can't be held to a schema.
        self._parser: ToolCallParser = (
            PlainText() if request.output else parser_for(tool_format, numbered())
        )
        self._prompt_tokens = _prompt_tokens(request)
        self._meter = request.meter
        self._text = ""
        self._called = False
        self.reason = FinishReason.STOP
        self.confidence: float | None = None
        self.ended = False
        self._meter.usage = self.usage

    def feed(self, text: str) -> list[Piece]:
        self._text += text
        self._meter.usage = self.usage
        return self._checked(lambda: self._parser.feed(text))

    def close(self) -> list[Piece]:
        return self._checked(self._parser.close)

    def finished(self) -> ChatFinished:
        self.ended = True
        called = self._called and self.reason is FinishReason.STOP
        reason = FinishReason.TOOL_CALLS if called else self.reason
        return ChatFinished(reason, self.usage, confidence=self.confidence)

    @property
    def words(self) -> int:
        return len(self._text.split())

    @property
    def usage(self) -> Usage:
        return Usage(prompt_tokens=self._prompt_tokens, completion_tokens=self.words)

    def _checked(self, parse: Callable[[], list[Piece]]) -> list[Piece]:
        try:
            pieces = parse()
        except MalformedToolCall as malformed:
            raise MalformedToolCall(malformed.detail, self.usage, self._text) from None
        self._called = self._called or any(isinstance(piece, ToolCallChunk) for piece in pieces)
        return pieces


def _in_order(script: Iterable[Turn]) -> Callable[[ChatRequest], Turn]:
    turns = iter(script)

    def following(_: ChatRequest) -> Turn:
        for turn in turns:
            return turn
        raise Internal("the script of the scripted model has no turn left for this request")

    return following


def _prompt_tokens(request: ChatRequest) -> int:
    return sum(len(message.content.split()) for message in request.messages)


def _too_long(tokens: int, limit: int) -> InvalidInput:
    error = InvalidInput(
        f"the prompt has {tokens} tokens; at most {limit} fit", reason="CONTEXT_LENGTH"
    )
    error.metadata |= {"prompt_tokens": str(tokens), "limit_tokens": str(limit)}
    return error


def _first_words(text: str, count: int) -> str:
    """The text up to the end of so many words."""
    if count >= len(text):
        return text
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return text if len(ends) <= count else text[: ends[count - 1] if count > 0 else 0]


def _refuse_empty(texts: Sequence[str]) -> None:
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidInput(f"texts[{index}] is empty", field=f"texts[{index}]")


def _vector(text: str) -> tuple[float, ...]:
    noise = struct.unpack(
        f"<{DIMENSIONS}h", shake_128(text.encode("utf-8", "replace")).digest(2 * DIMENSIONS)
    )
    length = math.sqrt(sum(value * value for value in noise))
    return tuple(value / length for value in noise)
