"""A request inside the engine's loop: its tokens turned into pieces of text."""

from backends.llm_serving.engine import Chunk, EngineRequest, Piece, TokenLogprob
from backends.llm_serving.text import StopScanner
from backends.openvino_genai.detokenizer import Detokenizer
from backends.openvino_genai.pipeline import Generation, Grown


class Sequence:
    """One sequence's text. `stopped` when a stop string has ended it."""

    def __init__(self, request: EngineRequest, detokenizer: Detokenizer) -> None:
        params = request.params
        self._min_tokens = params.min_tokens
        self._keep_logprobs = params.logprobs is not None
        self._text = detokenizer.open(skip_special=params.skip_special_tokens)
        self._token_text = detokenizer.open(skip_special=False) if self._keep_logprobs else None
        self._show_end = params.include_stop_str_in_output
        self._stops = (
            StopScanner(params.stop, include=params.include_stop_str_in_output)
            if params.stop
            else None
        )
        self.stopped = False
        self.tokens = 0
        self._score = 0.0
        self._pending: list[str] = []
        self._pending_tokens = 0
        self._pending_logprobs: list[tuple[TokenLogprob, ...]] = []
        self._reason: str | None = None

    @property
    def has_text(self) -> bool:
        return any(self._pending)

    def feed(self, grown: Grown) -> None:
        self._reason = grown.finish_reason
        if self._stops is None and not self._keep_logprobs:
            self._take(grown.ids, sum(grown.logprobs))
            self._pending.append(self._text.feed(self._shown(grown)))
            return
        shown = len(self._shown(grown))
        for at, (token, logprob) in enumerate(zip(grown.ids, grown.logprobs, strict=True)):
            if self.stopped:
                return
            self._take([token], logprob)
            if self._token_text is not None:
                spelled = self._token_text.feed([token])
                self._pending_logprobs.append((TokenLogprob(token, logprob, spelled),))
            if at < shown:
                self._scan(self._text.feed([token]))

    def _shown(self, grown: Grown) -> list[int]:
        """Without the token that ended the answer, as vLLM, special or not."""
        ended = grown.finish_reason == "stop" and not self._show_end
        return grown.ids[:-1] if ended else grown.ids

    def _take(self, ids: list[int], logprob: float) -> None:
        self.tokens += len(ids)
        self._pending_tokens += len(ids)
        self._score += logprob

    def _scan(self, text: str) -> None:
        if self._stops is None or self.tokens <= self._min_tokens:
            self._pending.append(text)
            return
        scanned = self._stops.feed(text)
        self._pending.append(scanned.text)
        if scanned.stopped:
            self.stopped = True
            self._reason = "stop"

    def piece(self, *, final: bool) -> Piece:
        """What is new since the last piece; the final one brings what was held back."""
        if final and not self.stopped:
            tail = self._text.close()
            held = self._stops.feed(tail).text + self._stops.close() if self._stops else tail
            self._pending.append(held)
        piece = Piece(
            text="".join(self._pending),
            tokens=self._pending_tokens,
            finish_reason=(self._reason or "stop") if final else None,
            cumulative_logprob=self._score,
            logprobs=tuple(self._pending_logprobs) if self._keep_logprobs else None,
        )
        self._pending, self._pending_tokens, self._pending_logprobs = [], 0, []
        return piece


class Answer:
    def __init__(
        self,
        request: EngineRequest,
        generation: Generation,
        prompt_tokens: int,
        detokenizer: Detokenizer,
    ) -> None:
        self.id = request.request_id
        self.generation = generation
        self.streamed = request.stream
        self.watched = bool(request.params.stop) and request.params.n == 1
        """Read after every step, for a stop string may end it."""
        self.started = False
        self.send_at_step = 0
        self._prompt_tokens = prompt_tokens
        self._sequences = [Sequence(request, detokenizer) for _ in range(request.params.n)]

    @property
    def stopped(self) -> bool:
        return self._sequences[0].stopped

    @property
    def has_text(self) -> bool:
        return self._sequences[0].has_text

    def read(self) -> None:
        self._sequences[0].feed(self.generation.read())

    def finish(self) -> Chunk:
        """Of a generation that has finished."""
        if len(self._sequences) == 1:
            if not self.stopped:
                for grown in self.generation.read_finished():
                    self._sequences[0].feed(grown)
        else:
            for sequence, grown in zip(
                self._sequences, self.generation.read_finished(), strict=True
            ):
                sequence.feed(grown)
        return self._chunk(final=True)

    def part(self) -> Chunk:
        self.started = True
        return self._chunk(final=False)

    def _chunk(self, *, final: bool) -> Chunk:
        pieces = tuple(sequence.piece(final=final) for sequence in self._sequences)
        return Chunk(self.id, pieces, final, self._prompt_tokens)
