"""Asking a model once more, told what was wrong with what it wrote."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.messages import Message, Role

MAX_SAID_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Repair:
    """What the model wrote and what it is told. Only the model sees them: no session keeps them."""

    said: str
    told: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """They follow the step's own messages, whatever of these there is room for."""
        told = Message(role=Role.USER, content=self.told)
        said = self.said[:MAX_SAID_CHARS].strip()
        return (Message(role=Role.ASSISTANT, content=said), told) if said else (told,)
