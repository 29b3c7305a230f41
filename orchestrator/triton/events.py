"""What happens to a Triton server, told to whoever started it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    STARTING = "starting"
    PROGRESS = "progress"
    READY = "ready"
    LEFTOVERS_ENDED = "leftovers_ended"
    SERVER_DIED = "server_died"
    SERVER_HUNG = "server_hung"
    STUB_DIED = "stub_died"
    RESTART_FAILED = "restart_failed"
    MODEL_RELOADED = "model_reloaded"
    MODEL_FAILED = "model_failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TritonEvent:
    """`message` is a sentence; `model` is set where the event is about one."""

    kind: Kind
    message: str
    model: str | None = None


Listener = Callable[[TritonEvent], None]
