"""An engine, a caller and a registry that do as they are told: for tests and for trying things."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.llm_serving.engine import (
    Chunk,
    Engine,
    EngineRequest,
    Listener,
    Load,
    Piece,
    Refusal,
    Report,
)
from backends.llm_serving.errors import EngineFailed, InvalidRequest, LlmError, Unavailable
from backends.llm_serving.metrics import Kind, Registry, Series
from backends.llm_serving.responder import Reply, Responder

_IDLE = Load(0, 0, 0.0, 0)


class ScriptedEngine(Engine):
    """Requests gather in `submitted`; what happens to them is up to `say`, `refuse` and `die`."""

    def __init__(self, *, failing_starts: int = 0, dislikes: str = "") -> None:
        self.submitted: dict[int, EngineRequest] = {}
        self.cancelled: list[int] = []
        self.starts = 0
        self.closed = False
        self._failing_starts = failing_starts
        self._dislikes = dislikes
        self._listener: Listener | None = None
        self.changed = threading.Condition()

    def start(self, listener: Listener) -> None:
        with self.changed:
            self.starts += 1
            self.changed.notify_all()
            if self.starts > 1 and self._failing_starts:
                self._failing_starts -= 1
                raise EngineFailed("the scripted engine does not start")
            self._listener = listener

    def check(self, request: EngineRequest) -> None:
        if self._dislikes and self._dislikes in request.prompt:
            raise InvalidRequest(f"the scripted engine dislikes {self._dislikes!r}")

    def submit(self, request: EngineRequest) -> None:
        with self.changed:
            if self._listener is None:
                raise Unavailable("the scripted engine is down")
            self.submitted[request.request_id] = request
            self.changed.notify_all()

    def cancel(self, request_id: int) -> None:
        with self.changed:
            self.cancelled.append(request_id)
            self.changed.notify_all()

    def close(self) -> None:
        self.closed = True

    def say(
        self, request_id: int, text: str, *, tokens: int = 1, reason: str | None = None
    ) -> None:
        """Hands out a piece, the last one if there is a reason."""
        piece = Piece(text, tokens, reason)
        self._report(chunks=(Chunk(request_id, (piece,), reason is not None, 3),))

    def refuse(self, request_id: int, message: str, *, callers_fault: bool) -> None:
        self._report(refusals=(Refusal(request_id, message, callers_fault),))

    def load(self, load: Load) -> None:
        self._report(load=load)

    def die(self, reason: str = "it was told to") -> None:
        with self.changed:
            listener, self._listener = self._listener, None
        assert listener is not None, "die() needs an engine that was started"
        listener.died(reason)

    def _report(
        self,
        chunks: tuple[Chunk, ...] = (),
        refusals: tuple[Refusal, ...] = (),
        load: Load = _IDLE,
    ) -> None:
        assert self._listener is not None, "the scripted engine was not started"
        self._listener.report(Report(chunks, refusals, load))


class RecordingCaller(Responder):
    """Keeps what it is sent; `cancelled` says that it has gone away."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.errors: list[LlmError] = []
        self.cancelled = False
        self.changed = threading.Condition()

    @property
    def text(self) -> str:
        return "".join(reply.pieces[0].text for reply in self.replies)

    @property
    def ended(self) -> bool:
        return bool(self.errors) or any(reply.final for reply in self.replies)

    def reply(self, reply: Reply) -> None:
        with self.changed:
            self.replies.append(reply)
            self.changed.notify_all()

    def fail(self, error: LlmError) -> None:
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    def is_cancelled(self) -> bool:
        return self.cancelled

    def wait(self, until: Callable[["RecordingCaller"], bool], timeout_s: float = 10.0) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: until(self), timeout_s)


@dataclass
class RecordingSeries(Series):
    value: float = 0.0
    observed: list[float] = field(default_factory=list)

    def increment(self, by: float) -> None:
        self.value += by

    def set(self, value: float) -> None:
        self.value = value

    def observe(self, value: float) -> None:
        self.observed.append(value)


class RecordingRegistry(Registry):
    def __init__(self) -> None:
        self.all: dict[tuple[str, tuple[tuple[str, str], ...]], RecordingSeries] = {}

    def series(
        self,
        kind: Kind,  # noqa: ARG002
        name: str,
        description: str,  # noqa: ARG002
        labels: Mapping[str, str],
        buckets: tuple[float, ...] = (),  # noqa: ARG002
    ) -> Series:
        return self.all.setdefault((name, tuple(sorted(labels.items()))), RecordingSeries())

    def one(self, name: str, **labels: str) -> RecordingSeries:
        """The only series of that name with these labels among its own."""
        [found] = [
            series
            for (known, own), series in self.all.items()
            if known == name and labels.items() <= dict(own).items()
        ]
        return found
