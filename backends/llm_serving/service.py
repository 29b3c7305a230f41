"""Serves calls with one engine: intake, answers, cancels, drain, and the engine's death."""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from backends.llm_serving.cancellation import CancelWatch
from backends.llm_serving.engine import Chunk, Engine, EngineRequest, Refusal, Report
from backends.llm_serving.errors import (
    EngineFailed,
    InvalidRequest,
    LlmError,
    RequestCancelled,
    Unavailable,
)
from backends.llm_serving.metrics import Metrics
from backends.llm_serving.requests import Call, Limits
from backends.llm_serving.responder import Reply, Responder
from backends.llm_serving.revival import Hooks, Revival
from backends.llm_serving.sending import Senders
from backends.llm_serving.trace import UNTRACED, Trace


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    limits: Limits = Limits()
    drain_timeout_s: float = 20.0
    engine_restarts: int = 3
    sender_threads: int = 1


class Log(Protocol):
    """Where the service's few lines go; none holds a prompt."""

    def info(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


@dataclass(slots=True)
class _Active:
    call: Call
    responder: Responder
    arrived: float
    first_token: float = 0.0
    generated: int = 0


class LlmService:
    """`on_given_up` is called, once, when the engine cannot be brought back."""

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        settings: ServiceSettings,
        log: Log,
        *,
        on_given_up: Callable[[str], None],
        trace: Trace = UNTRACED,
    ) -> None:
        self._trace = trace
        self._engine = engine
        self._metrics = metrics
        self._settings = settings
        self._log = log
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._active: dict[int, _Active] = {}
        self._named: dict[str, int] = {}
        self._refusal: str | None = "the engine is starting"
        self._closing = False
        self._retiring = threading.Lock()
        self._retired = False
        hooks = Hooks(
            start=lambda: engine.start(self),
            on_down=self._down,
            on_up=self._up,
            on_given_up=on_given_up,
        )
        self._revival = Revival(hooks, settings.engine_restarts)
        self._senders = Senders(
            settings.sender_threads, lambda error: log.error(f"a reply was not sent: {error}")
        )
        self._step_s = 0.0
        self._watch = CancelWatch(self._responders, self._cancelled, lambda: self._step_s, trace)

    def start(self) -> None:
        """Raises EngineFailed."""
        self._engine.start(self)
        self._up()

    def submit(self, call: Call, responder: Responder) -> None:
        """Answers through the responder, now or later; raises nothing of its own."""
        request_id = next(self._ids)
        request = EngineRequest(
            request_id, call.prompt, call.params, call.stream, call.wanted.cumulative_logprob
        )
        try:
            self._engine.check(request)
            self._admit(request_id, _Active(call, responder, time.monotonic()))
        except LlmError as error:
            self.refuse(responder, error, lane=request_id)
            return
        try:
            self._engine.submit(request)
        except LlmError as error:
            self._fail(request_id, error, "unavailable")

    def hint(self, name: str) -> None:
        """Somebody says that the call of this name is cancelled; it counts once Triton says so."""
        with self._lock:
            request_id = self._named.get(name, 0)
            active = self._active.get(request_id)
        if active is not None:
            self._watch.suspect(request_id, active.responder)

    def refuse(self, responder: Responder, error: LlmError, *, lane: int = 0) -> None:
        self._metrics.ended("invalid" if isinstance(error, InvalidRequest) else "unavailable")
        self._senders.send(lane, responder, error)

    def retire(self) -> None:
        """Lets running calls end for `drain_timeout_s`, fails what is left and ends the engine.

        Whatever comes after is refused.
        """
        with self._retiring:
            if not self._retired:
                self._retired = True
                self._retire()

    def close(self) -> None:
        self.retire()
        self._revival.close()
        self._watch.close()
        self._senders.close()
        self._metrics.close()

    def _retire(self) -> None:
        with self._lock:
            self._closing = True
            self._refusal = "the model is being unloaded"
            self._drained.wait_for(lambda: not self._active, self._settings.drain_timeout_s)
            left = len(self._active)
        if left:
            self._log.info(f"{left} calls did not end within the drain time and are cut off")
        self._fail_all(Unavailable("the model was unloaded before the answer was complete"))
        # In this order: who starts the engine, or writes to it, may hang until it is gone.
        self._revival.stop()
        self._engine.close()
        self._metrics.engine_up(False)

    def report(self, report: Report) -> None:
        for chunk in report.chunks:
            self._grown(chunk)
        for refusal in report.refusals:
            self._refused(refusal)
        self._step_s = report.load.step_s
        self._metrics.load(report.load)

    def died(self, reason: str) -> None:
        self._revival.died(reason)

    def _down(self, reason: str) -> None:
        with self._lock:
            if not self._closing:
                self._refusal = "the engine has died and is being started again"
        self._metrics.engine_died()
        self._log.error(f"the engine died: {reason}")
        self._fail_all(EngineFailed("the engine died while it worked on this request"))

    def _up(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._refusal = None
        self._metrics.engine_up(True)

    def _admit(self, request_id: int, active: _Active) -> None:
        most = self._settings.limits.max_requests
        with self._lock:
            if self._refusal is not None:
                raise Unavailable(f"cannot take this request: {self._refusal}")
            if len(self._active) >= most:
                raise Unavailable(f"cannot take this request: {most} are already in")
            self._active[request_id] = active
            if active.call.name:
                self._named[active.call.name] = request_id
            alone = len(self._active) == 1
        if alone:
            self._watch.wake()

    def _responders(self) -> Mapping[int, Responder]:
        with self._lock:
            return {request_id: one.responder for request_id, one in self._active.items()}

    def _drop(self, request_id: int) -> _Active | None:
        with self._lock:
            active = self._active.pop(request_id, None)
            if active is not None and self._named.get(active.call.name) == request_id:
                del self._named[active.call.name]
            if not self._active:
                self._drained.notify_all()
        return active

    def _grown(self, chunk: Chunk) -> None:
        active = self._active.get(chunk.request_id)
        if active is None:
            return
        generated = sum(piece.tokens for piece in chunk.pieces)
        now = time.monotonic()
        if not active.first_token:
            active.first_token = now
            self._metrics.first_token(now - active.arrived)
            self._metrics.tokens(prompt=chunk.prompt_tokens, generated=generated)
        else:
            self._metrics.tokens(prompt=0, generated=generated)
        active.generated += generated
        if chunk.final and self._drop(chunk.request_id) is None:
            return
        reply = Reply(chunk.pieces, chunk.prompt_tokens, chunk.final)
        self._senders.send(chunk.request_id, active.responder, reply)
        if chunk.final:
            self._revival.served()
            self._served(active, chunk, now)

    def _served(self, active: _Active, chunk: Chunk, now: float) -> None:
        rest = active.generated - len(chunk.pieces)
        e2e_s = now - active.arrived
        decode_s = now - active.first_token if active.call.stream else e2e_s
        self._metrics.served(
            chunk.pieces[0].finish_reason or "stop",
            e2e_s=e2e_s,
            per_token_s=decode_s / rest if rest > 0 else None,
        )

    def _refused(self, refusal: Refusal) -> None:
        error: LlmError
        if refusal.callers_fault:
            error = InvalidRequest(refusal.message)
        else:
            error = Unavailable(refusal.message)
        self._fail(refusal.request_id, error, "invalid" if refusal.callers_fault else "unavailable")

    def _cancelled(self, request_id: int) -> None:
        active = self._drop(request_id)
        if active is None:
            return
        self._trace.note("told", request_id)
        self._engine.cancel(request_id)
        self._metrics.ended("cancelled")
        error = RequestCancelled("the request was cancelled")
        self._senders.end_cancelled(active.responder, error)

    def _fail(self, request_id: int, error: LlmError, reason: str) -> None:
        active = self._drop(request_id)
        if active is not None:
            self._metrics.ended(reason)
            self._senders.send(request_id, active.responder, error)

    def _fail_all(self, error: LlmError) -> None:
        for request_id in list(self._active):
            self._fail(request_id, error, "unavailable")
