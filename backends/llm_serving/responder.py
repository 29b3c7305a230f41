"""The way back to one caller."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from backends.llm_serving.engine import Piece
from backends.llm_serving.errors import LlmError


class Reply(NamedTuple):
    pieces: tuple[Piece, ...]
    prompt_tokens: int
    final: bool


class Responder(ABC):
    """`reply` and `fail` come from one thread at a time; `is_cancelled` may come from another."""

    @abstractmethod
    def reply(self, reply: Reply) -> None: ...

    @abstractmethod
    def fail(self, error: LlmError) -> None:
        """Ends the call."""

    @abstractmethod
    def is_cancelled(self) -> bool: ...
