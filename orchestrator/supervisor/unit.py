"""What the supervisor supervises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

Say = Callable[[str], None]
"""Tells the person at the terminal one line."""


class StartError(Exception):
    """A part can't be started; the message is one sentence that says why."""


class Unit(ABC):
    """One part of the stack. It keeps itself running between `start` and `stop`."""

    name: str

    @abstractmethod
    async def start(self) -> None:
        """Returns when it serves.

        Raises:
            StartError: it can't; nothing of it is left then.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Ends it within its grace time. Also called after a failed start."""
