"""What an LLM's responses add up to."""

from __future__ import annotations

import codecs
import math

from orchestrator.adapters.triton.errors import unavailable
from orchestrator.adapters.triton.wire import Outputs
from orchestrator.domain.chat import FinishReason, MalformedToolCall, Meter, ToolCallChunk
from orchestrator.domain.runs import Usage
from orchestrator.tool_calls.parser import Piece, ToolCallParser

# NVIDIA's vLLM backend writes Python's None into every response but the last.
_UNFINISHED = {b"", b"None"}
_REASONS = {b"stop": FinishReason.STOP, b"length": FinishReason.LENGTH}


class Answer:
    """Turns one answer's responses into chunks and counts its tokens."""

    def __init__(
        self, model: str, parser: ToolCallParser, meter: Meter, *, prompt_tokens: int
    ) -> None:
        self._model = model
        self._parser = parser
        # A character's bytes may be spread over two responses.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._meter = meter
        self._meter.usage = Usage(prompt_tokens=prompt_tokens)
        self._said: list[str] = []
        self._finish = b""
        self._called = False
        self._logprob = math.nan

    @property
    def usage(self) -> Usage:
        return self._meter.usage

    def feed(self, outputs: Outputs) -> list[Piece]:
        """Raises MalformedToolCall, with the usage so far."""
        self.count(outputs)
        text = b"".join(outputs.strings("text_output")[:1])
        return self._parse(self._decoder.decode(text), final=False)

    def count(self, outputs: Outputs) -> None:
        """Counts a part's tokens, and leaves its text alone."""
        prompt, new = self.usage.prompt_tokens, 0
        if "num_input_tokens" in outputs:
            prompt = next(iter(outputs.counts("num_input_tokens")), prompt)
        if "num_output_tokens" in outputs:
            new = sum(outputs.counts("num_output_tokens")[:1])
        self._meter.usage = Usage(
            prompt_tokens=prompt, completion_tokens=self.usage.completion_tokens + new
        )
        if "finish_reason" in outputs:
            finish = b"".join(outputs.strings("finish_reason")[:1])
            self._finish = self._finish if finish in _UNFINISHED else finish
        if "cumulative_logprob" in outputs:
            self._logprob = outputs.float_rows("cumulative_logprob")[0][0]

    def close(self) -> list[Piece]:
        """Ends the answer; `reason` is known from here on.

        Raises:
            Unavailable: the engine did not end the answer by itself.
            MalformedToolCall: with the usage.
        """
        if self._finish not in _REASONS:
            why = self._finish.decode("utf-8", "replace")[:40] or "there is no finish reason"
            raise unavailable(self._model, f"it broke off its answer ({why})")
        return self._parse(self._decoder.decode(b"", final=True), final=True)

    @property
    def reason(self) -> FinishReason:
        reason = _REASONS[self._finish]
        called = self._called and reason is FinishReason.STOP
        return FinishReason.TOOL_CALLS if called else reason

    @property
    def confidence(self) -> float | None:
        """The tokens' geometric mean probability; None where the engine did not say."""
        tokens = self.usage.completion_tokens
        if not tokens or not math.isfinite(self._logprob):
            return None
        return math.exp(min(0.0, self._logprob / tokens))

    def _parse(self, text: str, *, final: bool) -> list[Piece]:
        self._said.append(text)
        try:
            pieces = self._parser.feed(text) + (self._parser.close() if final else [])
        except MalformedToolCall as malformed:
            cut = ", cut off by its token limit" if self._finish == b"length" else ""
            said = "".join(self._said)
            raise MalformedToolCall(malformed.detail + cut, self.usage, said) from None
        self._called = self._called or any(isinstance(piece, ToolCallChunk) for piece in pieces)
        return pieces
