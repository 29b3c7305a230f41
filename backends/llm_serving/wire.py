"""What the stub and an engine's process say to each other, beside requests and reports."""

from typing import NamedTuple

from backends.llm_serving.engine import EngineRequest


class Cancel(NamedTuple):
    request_id: int


class Stop(NamedTuple):
    pass


class Ready(NamedTuple):
    pass


class Failed(NamedTuple):
    """The engine's process ends after it."""

    reason: str


Message = EngineRequest | Cancel | Stop
