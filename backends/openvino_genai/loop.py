"""The engine's loop: take requests in, step, hand out what is due.

A whole answer costs nothing per step: it is read when the engine has let go of it. A stream is
read when its next message is due, a request with stop strings after every step.
"""

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable

from backends.llm_serving.coalescing import Coalescing
from backends.llm_serving.engine import Chunk, EngineRequest, Load, Refusal, Report
from backends.llm_serving.trace import UNTRACED, Trace
from backends.llm_serving.wire import Cancel, Message
from backends.openvino_genai.answer import Answer
from backends.openvino_genai.detokenizer import Detokenizer
from backends.openvino_genai.pipeline import Pipeline, Status

REPORT_LOAD_EVERY_S = 0.05
STEP_TIME_WEIGHT = 0.2


class Channel(ABC):
    @abstractmethod
    def receive(self, *, wait: bool) -> list[Message]:
        """All messages that are there; with `wait` at least one. Gone peers send Stop."""

    @abstractmethod
    def send(self, report: Report) -> None: ...


class Loop:
    def __init__(
        self,
        pipeline: Pipeline,
        channel: Channel,
        detokenizer: Detokenizer,
        coalescing: Coalescing,
        trace: Trace = UNTRACED,
    ) -> None:
        self._trace = trace
        self._pipeline = pipeline
        self._channel = channel
        self._detokenizer = detokenizer
        self._coalescing = coalescing
        self._answers: dict[int, Answer] = {}
        self._due: defaultdict[int, list[int]] = defaultdict(list)
        self._streams = 0
        self._left = False
        self._steps = 0
        self._step_s = 0.0
        self._load_sent = Load(0, 0, 0.0, 0)
        self._sent_at = 0.0
        self._refusals: list[Refusal] = []

    def run(self) -> None:
        """Until told to stop; raises what the engine raises."""
        while self._take_in(self._channel.receive(wait=not self._pipeline.busy())):
            if self._left:
                # What was cancelled is not in the next step: say so before it, not after.
                self._left = False
                self._send([])
            chunks: list[Chunk] = []
            if self._pipeline.busy():
                self._step()
                chunks = [*self._finished(), *self._partial()]
            self._send(chunks)

    def _take_in(self, messages: list[Message]) -> bool:
        """False when told to stop."""
        added = []
        for message in messages:
            if isinstance(message, EngineRequest):
                added.append(message)
            elif isinstance(message, Cancel):
                added = [one for one in added if one.request_id != message.request_id]
                self._drop(message.request_id, cancel=True)
            else:
                return False
        if added:
            encoded = self._pipeline.encode([request.prompt for request in added])
            for request, ids in zip(added, encoded, strict=True):
                self._add(request, ids)
        return True

    def _add(self, request: EngineRequest, ids: list[int]) -> None:
        context = self._pipeline.context_tokens
        room = context - len(ids)
        if not ids or room < 1:
            what = (
                "holds no token" if not ids else f"has {len(ids)} tokens, which do not leave room"
            )
            text = f"text_input {what}: it must have at least 1 and at most {context - 1}"
            self._refusals.append(Refusal(request.request_id, text, callers_fault=True))
            return
        params = request.params
        max_new = room if params.max_tokens is None else min(params.max_tokens, room)
        try:
            generation = self._pipeline.add(
                request.request_id, ids, params, max_new, scored=request.scored
            )
        except (RuntimeError, ValueError) as error:
            text = f"the engine refuses this request: {error}"
            self._refusals.append(Refusal(request.request_id, text, callers_fault=True))
            return
        answer = Answer(request, generation, len(ids), self._detokenizer)
        self._answers[answer.id] = answer
        self._streams += answer.streamed
        if answer.streamed or answer.watched:
            self._due[self._steps + 1].append(answer.id)

    def _step(self) -> None:
        began = time.perf_counter()
        self._pipeline.step()
        spent = time.perf_counter() - began
        self._steps += 1
        self._trace.note("step", self._steps)
        self._step_s += (spent - self._step_s) * (STEP_TIME_WEIGHT if self._step_s else 1.0)

    def _finished(self) -> Iterable[Chunk]:
        for answer in [*self._answers.values()]:
            status = answer.generation.status()
            if status is Status.RUNNING:
                continue
            self._drop(answer.id)
            if status is Status.FINISHED:
                yield answer.finish()
            else:
                text = "the KV cache has no room for this request"
                self._refusals.append(Refusal(answer.id, text, callers_fault=False))

    def _partial(self) -> Iterable[Chunk]:
        for request_id in self._due.pop(self._steps, ()):
            answer = self._answers.get(request_id)
            if answer is None:
                continue
            answer.read()
            if answer.stopped:
                self._drop(request_id, cancel=True)
                yield answer.finish()
                continue
            wait = 1
            if answer.streamed and answer.has_text and self._steps >= answer.send_at_step:
                yield answer.part()
                wait = self._coalescing.steps_until_next(self._streams, self._step_s)
                answer.send_at_step = self._steps + wait
            self._due[self._steps + (1 if answer.watched else wait)].append(request_id)

    def _drop(self, request_id: int, *, cancel: bool = False) -> None:
        answer = self._answers.pop(request_id, None)
        if answer is None:
            return
        self._streams -= answer.streamed
        if cancel:
            answer.generation.cancel()
            self._left = True

    def _send(self, chunks: list[Chunk]) -> None:
        """The load by itself goes out when requests start or leave, else every now and then."""
        now = time.monotonic()
        load = self._load(idle=not self._pipeline.busy())
        same = load[:2] == self._load_sent[:2]
        if not (chunks or self._refusals) and same and now - self._sent_at < REPORT_LOAD_EVERY_S:
            return
        refusals, self._refusals = tuple(self._refusals), []
        self._sent_at = now
        self._load_sent = load
        self._channel.send(Report(tuple(chunks), refusals, load))

    def _load(self, *, idle: bool) -> Load:
        scheduled, kv_usage = self._pipeline.counts()
        inside = len(self._answers)
        running = 0 if idle else min(scheduled, inside)
        return Load(running, inside - running, min(1.0, kv_usage), self._steps, self._step_s)
