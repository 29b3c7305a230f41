"""A pipeline and a channel that do as they are told, for trying the loop without a model."""

from collections import deque
from collections.abc import Callable, Sequence

from backends.llm_serving.engine import Report
from backends.llm_serving.sampling import SamplingParams
from backends.llm_serving.wire import Message, Stop
from backends.openvino_genai.loop import Channel
from backends.openvino_genai.pipeline import Counts, Generation, Grown, Status

EOS = 0


class ScriptedGeneration(Generation):
    """Grows by one token of its script a step; ends at EOS or after `max_new` tokens."""

    def __init__(self, script: Sequence[int], max_new: int) -> None:
        self._script = script
        self._max_new = max_new
        self._made = 0
        self._read = 0
        self.reads = 0
        self.cancelled = False
        self.lost = False

    @property
    def live(self) -> bool:
        return not self.cancelled and self.status() is Status.RUNNING

    def grow(self) -> None:
        if self.live:
            self._made += 1

    def status(self) -> Status:
        if self.lost:
            return Status.OUT_OF_CACHE
        return Status.RUNNING if self._reason() is None else Status.FINISHED

    def read(self) -> Grown:
        self.reads += 1
        ids = [self._script[i % len(self._script)] for i in range(self._read, self._made)]
        self._read = self._made
        return Grown(ids, [-1.0] * len(ids), self._reason())

    def read_finished(self) -> list[Grown]:
        return [self.read()]

    def cancel(self) -> None:
        self.cancelled = True

    def _reason(self) -> str | None:
        if self._made and self._script[(self._made - 1) % len(self._script)] == EOS:
            return "stop"
        return "length" if self._made >= self._max_new else None


class ScriptedPipeline:
    """A prompt's tokens are its characters' codes; the script of an answer comes from `answer`."""

    eos_ids = frozenset({EOS})

    def __init__(self, answer: Callable[[str], Sequence[int]], context_tokens: int = 100) -> None:
        self.context_tokens = context_tokens
        self.generations: dict[int, ScriptedGeneration] = {}
        self.encoded: list[int] = []
        self.breaks_at_step: int | None = None
        self.steps = 0
        self._answer = answer

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        self.encoded.append(len(prompts))
        return [[ord(char) for char in prompt] for prompt in prompts]

    def add(
        self,
        request_id: int,
        ids: list[int],
        params: SamplingParams,  # noqa: ARG002
        max_new: int,
        *,
        scored: bool,  # noqa: ARG002
    ) -> Generation:
        prompt = "".join(chr(one) for one in ids)
        self.generations[request_id] = ScriptedGeneration(self._answer(prompt), max_new)
        return self.generations[request_id]

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.breaks_at_step:
            raise RuntimeError("the scripted pipeline breaks")
        for generation in self.generations.values():
            generation.grow()

    def busy(self) -> bool:
        return any(generation.live for generation in self.generations.values())

    def counts(self) -> Counts:
        return Counts(sum(one.live for one in self.generations.values()), 0.25)


class ScriptedChannel(Channel):
    """Hands out its batches of messages one per turn, then nothing; stops when all is idle."""

    def __init__(self, *batches: Sequence[Message]) -> None:
        self._batches = deque(batches)
        self.reports: list[Report] = []

    def receive(self, *, wait: bool) -> list[Message]:
        if self._batches:
            return list(self._batches.popleft())
        return [Stop()] if wait else []

    def send(self, report: Report) -> None:
        self.reports.append(report)
