"""Asking a model once more, told what was wrong with what it wrote."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.messages import Message, Role

MAX_SAID_CHARS = 2_000
"""Of a longer text the model reads the beginning and the end."""

SAID_NOTHING = "(nothing)"
"""Some chat templates insist that user and assistant take turns."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What the model wrote and what it is told. Only the model sees them: no session keeps them."""

    said: str
    told: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """They follow the step's own messages, whatever of these there is room for."""
        told = Message(role=Role.USER, content=self.told)
        said = _shortened(self.said.strip()) or SAID_NOTHING
        return (Message(role=Role.ASSISTANT, content=said), told)


def _shortened(said: str) -> str:
    half = MAX_SAID_CHARS // 2
    return said if len(said) <= MAX_SAID_CHARS else f"{said[:half]}\n[…]\n{said[-half:]}"
