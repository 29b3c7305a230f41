"""A request inside the front end: vLLM's outputs turned into pieces."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from backends.llm_serving.engine import Chunk, EngineRequest, Piece, TokenLogprob

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput


class Collector(Protocol):
    """vLLM's RequestOutputCollector: it merges the deltas that nobody has taken yet."""

    output: Any

    def get_nowait(self) -> Any: ...


@dataclass(slots=True)
class Answer:
    request: EngineRequest
    collector: Collector
    send_at_step: int = 0
    _ended: dict[int, Piece] = field(default_factory=dict)
    """The last piece of each sequence that has ended, by index."""

    @property
    def due(self) -> bool:
        """Whether there is something to take whatever the step."""
        output = self.collector.output
        return output is not None and (isinstance(output, Exception) or output.finished)

    @property
    def has_text(self) -> bool:
        output = self.collector.output
        return output is not None and any(one.text for one in output.outputs)

    def take(self) -> Chunk:
        """What has come together; raises what the engine says instead."""
        output: RequestOutput = self.collector.get_nowait()
        grown = {one.index: self._piece(one) for one in output.outputs}
        pieces = tuple(grown.get(i) or self._silent(i) for i in range(self.request.params.n))
        for i, piece in grown.items():
            if piece.finish_reason is not None:
                self._ended[i] = piece
        prompt_tokens = len(output.prompt_token_ids or ())
        return Chunk(self.request.request_id, pieces, output.finished, prompt_tokens)

    def _piece(self, output: "CompletionOutput") -> Piece:
        logprobs = None
        if self.request.params.logprobs is not None:
            logprobs = tuple(
                tuple(
                    TokenLogprob(token, one.logprob, one.decoded_token or "", one.rank)
                    for token, one in token_logprobs.items()
                )
                for token_logprobs in output.logprobs or ()
            )
        return Piece(
            output.text,
            len(output.token_ids),
            output.finish_reason,
            output.cumulative_logprob or 0.0,
            logprobs,
        )

    def _silent(self, index: int) -> Piece:
        """Of a sequence that has not grown: an ended one goes on saying why."""
        logprobs = () if self.request.params.logprobs is not None else None
        ended = self._ended.get(index)
        if ended is None:
            return Piece("", 0, logprobs=logprobs)
        return Piece("", 0, ended.finish_reason, ended.cumulative_logprob, logprobs)
