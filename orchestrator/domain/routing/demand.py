"""What a request is, and what it asks of a model."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from orchestrator.domain.catalogue import Capability

CHARACTERS_PER_TOKEN = 3
NEW_TOKENS = 64
"""Of an answer whose length nobody bounded. Both for estimates only."""


def tokens_of(characters: int) -> int:
    return characters // CHARACTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Classification:
    """Probabilities by label, each mapping adding up to 1."""

    task: Mapping[str, float]
    complexity: Mapping[str, float]
    risk: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks of a model. Token counts are estimates.

    `least_prompt_tokens` is what has to fit into the context, where older turns of the prompt
    can be left out; None: all of it.
    """

    capabilities: Set[Capability]
    prompt_tokens: int
    new_tokens: int
    least_prompt_tokens: int | None = None

    @property
    def least(self) -> int:
        return self.prompt_tokens if self.least_prompt_tokens is None else self.least_prompt_tokens
