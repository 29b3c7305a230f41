"""vLLM as far as the loop sees it, doing as it is told: for tests and for trying things."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from backends.llm_serving.engine import EngineRequest
from backends.llm_serving.errors import InvalidRequest
from backends.vllm.answer import Collector
from backends.vllm.loop import Client, Counts, EngineDied


@dataclass
class ScriptedLogprob:
    logprob: float
    rank: int | None = 1
    decoded_token: str | None = None


@dataclass
class ScriptedCompletion:
    index: int = 0
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    cumulative_logprob: float | None = None
    logprobs: list[dict[int, ScriptedLogprob]] | None = None
    finish_reason: str | None = None


@dataclass
class ScriptedOutput:
    outputs: list[ScriptedCompletion]
    finished: bool = False
    prompt_token_ids: list[int] = field(default_factory=lambda: [1, 2, 3])


class ScriptedCollector:
    """Merges deltas of one sequence, as vLLM's does."""

    def __init__(self) -> None:
        self.output: Any = None

    def put(self, output: ScriptedOutput | Exception) -> None:
        held = self.output
        if not isinstance(held, ScriptedOutput) or isinstance(output, Exception):
            self.output = output
            return
        held.finished |= output.finished
        for new in output.outputs:
            old = next((one for one in held.outputs if one.index == new.index), None)
            if old is None:
                held.outputs.append(new)
                continue
            old.text += new.text
            old.token_ids += new.token_ids
            old.finish_reason = new.finish_reason

    def get_nowait(self) -> Any:
        output, self.output = self.output, None
        if isinstance(output, Exception):
            raise output
        return output


class ScriptedClient(Client):
    def __init__(self, *, dislikes: str = "") -> None:
        self.collectors: dict[int, ScriptedCollector] = {}
        self.aborted: list[int] = []
        self.dead = False
        self.dying = False
        self._dislikes = dislikes

    async def add(self, request: EngineRequest) -> Collector:
        if self.dying:
            raise EngineDied("the scripted engine is dying")
        if self._dislikes and self._dislikes in request.prompt:
            raise InvalidRequest(f"the scripted engine dislikes {self._dislikes!r}")
        return self.collectors.setdefault(request.request_id, ScriptedCollector())

    async def abort(self, request_ids: Iterable[int]) -> None:
        self.aborted += request_ids

    def is_dead(self) -> bool:
        return self.dead

    def say(self, request_id: int, text: str, *, index: int = 0, reason: str | None = None) -> None:
        """One token of a sequence; with a reason its last, and the request's."""
        piece = ScriptedCompletion(index, text, [7], finish_reason=reason)
        self.collectors[request_id].put(ScriptedOutput([piece], finished=reason is not None))

    def counts(self) -> Counts:
        return Counts(len(self.collectors), 0, 0.5)
