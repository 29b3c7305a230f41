"""Between the stub and vLLM: requests in, pieces out after each of the engine's steps.

vLLM tells a stat logger of every step, after it has put what each request grew by into that
request's collector. A whole answer is taken when it is there, a stream when its next message is
due or when it ends; what is not taken yet is merged by the collector.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from backends.llm_serving.coalescing import Coalescing
from backends.llm_serving.engine import Chunk, EngineRequest, Load, Refusal, Report
from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.trace import UNTRACED, Trace
from backends.llm_serving.wire import Cancel, Message, Stop
from backends.vllm.answer import Answer, Collector

CHECK_EVERY_S = 0.05
STEP_TIME_WEIGHT = 0.2
GIVEN_UP = frozenset({"abort", "error"})


class Counts(NamedTuple):
    """What vLLM says of itself after a step."""

    running: int
    waiting: int
    kv_usage: float


class EngineDied(Exception):
    """vLLM's core is gone."""


class Client(ABC):
    """vLLM's AsyncLLM."""

    @abstractmethod
    async def add(self, request: EngineRequest) -> Collector:
        """Raises InvalidRequest when vLLM does not take it, EngineDied."""

    @abstractmethod
    async def abort(self, request_ids: Iterable[int]) -> None: ...

    @abstractmethod
    def is_dead(self) -> bool: ...


class Loop:
    def __init__(
        self,
        client: Client,
        send: Callable[[Report], None],
        coalescing: Coalescing,
        trace: Trace = UNTRACED,
    ) -> None:
        self._client = client
        self._send = send
        self._coalescing = coalescing
        self._trace = trace
        self._answers: dict[int, Answer] = {}
        self._coming: set[int] = set()
        self._dropped: set[int] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._streams = 0
        self._counts = Counts(0, 0, 0.0)
        self._left = 0
        """Running ones that were aborted since vLLM's last count."""
        self._steps = 0
        self._step_s = 0.0
        self._stepped_at = 0.0
        self._load_sent = Load(0, 0, 0.0, 0)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until told to stop; raises EngineDied."""
        try:
            while not self._ended.done():
                await asyncio.wait((self._ended,), timeout=CHECK_EVERY_S)
                if self._client.is_dead():
                    self._end(EngineDied("vLLM's core process has ended"))
                self._report((), ())
            self._ended.result()
        finally:
            for task in self._tasks:
                task.cancel()

    def take_in(self, messages: Iterable[Message]) -> None:
        cancelled = []
        for message in messages:
            if isinstance(message, EngineRequest):
                self._coming.add(message.request_id)
                self._start(self._add(message))
            elif isinstance(message, Cancel):
                cancelled.append(message.request_id)
            elif isinstance(message, Stop):
                self._end(None)
        if cancelled:
            self._cancel(cancelled)

    def stepped(self, counts: Counts) -> None:
        """After the step's outputs are in their collectors."""
        now = time.perf_counter()
        if self._counts.running and self._stepped_at:
            spent = now - self._stepped_at
            self._step_s += (spent - self._step_s) * (STEP_TIME_WEIGHT if self._step_s else 1.0)
        self._stepped_at = now
        self._steps += 1
        self._trace.note("step", self._steps)
        self._counts, self._left = counts, 0
        self._hand_out(list(self._answers.values()))

    async def _add(self, request: EngineRequest) -> None:
        request_id = request.request_id
        try:
            collector = await self._client.add(request)
        except InvalidRequest as error:
            collector, refusal = None, Refusal(request_id, str(error), callers_fault=True)
        self._coming.discard(request_id)
        if request_id in self._dropped:
            self._dropped.discard(request_id)
            if collector is not None:
                await self._client.abort([request_id])
        elif collector is None:
            self._report((), (refusal,))
        else:
            answer = self._answers[request_id] = Answer(request, collector)
            self._streams += request.stream
            # Its first step may have ended before it was here.
            self._hand_out([answer])

    def _cancel(self, request_ids: list[int]) -> None:
        self._dropped |= self._coming.intersection(request_ids)
        known = [one for one in request_ids if self._forget(one)]
        if known:
            # Said before vLLM's next step, which these are not in.
            self._left += len(known)
            self._report((), ())
            self._start(self._client.abort(known))

    def _forget(self, request_id: int) -> bool:
        answer = self._answers.pop(request_id, None)
        if answer is None:
            return False
        self._streams -= answer.request.stream
        return True

    def _hand_out(self, answers: list[Answer]) -> None:
        chunks: list[Chunk] = []
        refusals: list[Refusal] = []
        for answer in answers:
            if answer.due or (
                answer.request.stream and self._steps >= answer.send_at_step and answer.has_text
            ):
                self._take(answer, chunks, refusals)
        self._report(chunks, refusals)

    def _take(self, answer: Answer, chunks: list[Chunk], refusals: list[Refusal]) -> None:
        request_id = answer.request.request_id
        try:
            chunk = answer.take()
        except Exception as error:  # noqa: BLE001
            # vLLM hands out what befell the request, or itself.
            self._forget(request_id)
            reason = f"the engine failed on this request: {type(error).__name__}"
            refusals.append(Refusal(request_id, reason, callers_fault=False))
            return
        if chunk.final:
            self._forget(request_id)
            if any(piece.finish_reason in GIVEN_UP for piece in chunk.pieces):
                reason = "the engine has given this request up"
                refusals.append(Refusal(request_id, reason, callers_fault=False))
                return
        wait = self._coalescing.steps_until_next(self._streams, self._step_s)
        answer.send_at_step = self._steps + wait
        chunks.append(chunk)

    def _report(self, chunks: Iterable[Chunk], refusals: Iterable[Refusal]) -> None:
        """The load by itself goes out when it has changed."""
        load = self._load()
        report = Report(tuple(chunks), tuple(refusals), load)
        if not (report.chunks or report.refusals) and load[:2] == self._load_sent[:2]:
            return
        self._load_sent = load
        try:
            self._send(report)
        except OSError:
            self._end(None)

    def _load(self) -> Load:
        running = max(0, self._counts.running - self._left)
        inside = len(self._answers) + len(self._coming)
        kv_usage = self._counts.kv_usage if inside else 0.0
        return Load(running, max(0, inside - running), kv_usage, self._steps, self._step_s)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
