"""What the engine's process says beside reports."""

from typing import NamedTuple


class Ready(NamedTuple):
    pass


class Failed(NamedTuple):
    """The process ends after it."""

    reason: str
