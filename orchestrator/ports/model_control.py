"""Which models a model server holds, and loading and unloading them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class LoadState(StrEnum):
    READY = "ready"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version of a model in the server's repositories; `reason` says why it is not ready."""

    model: str
    version: str  # empty: never loaded
    state: LoadState
    reason: str = ""


class ModelControl(ABC):
    """
    Every method raises:
        Unavailable: MODEL_UNAVAILABLE, the server does not answer.
    """

    @abstractmethod
    async def served(self) -> Sequence[ServedVersion]:
        """Returns every version of every model in the server's repositories."""

    @abstractmethod
    async def load(self, model: str) -> None:
        """Returns when the model answers. One that is loaded is loaded again from its files.

        Raises:
            InvalidInput: MODEL_NOT_LOADED, it does not load; the message says why.
        """

    @abstractmethod
    async def unload(self, model: str) -> None:
        """Returns when what ran in it has ended and its memory is free.

        Raises:
            DeadlineExceeded: it did not end in time.
        """
