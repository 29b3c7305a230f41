"""The catalogue: which language models there are, what they can do and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from orchestrator.domain.base import Value
from orchestrator.domain.runs import CallOutcome, ModelCall, Usage

TRITON = "triton"
"""The provider of a model that Triton serves; others are named in the settings."""


class Capability(StrEnum):
    CHAT = "chat"
    TOOLS = "tools"
    STRUCTURED = "structured"  # its engine can be held to a JSON Schema


class StructuredFormat(StrEnum):
    """The sampling parameter in which an engine takes a schema, by vLLM's names."""

    STRUCTURED_OUTPUTS = "structured_outputs"
    GUIDED_DECODING = "guided_decoding"
    GUIDED_JSON = "guided_json"


class ToolCallFormat(StrEnum):
    """How a model writes its tool calls."""

    HERMES = "hermes"
    JSON = "json"
    LLAMA3_JSON = "llama3_json"
    MISTRAL = "mistral"


Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class ModelEntry(Value):
    """One model. Prices are in millionths of the currency per million tokens.

    `provider` is `triton` or a name of the settings' `[providers]`. `cached_input_price` is that
    of prompt tokens which the provider has read before; None: as others. `max_in_flight` bounds
    a process's requests; 0: no bound. `ttft_ms` and `tpot_ms` (to the first token, and for each
    further one) are what to expect before anything was measured. `least_confidence` is how sure,
    as the mean probability of its tokens, it has to be of an answer that a cascade takes.

    `quality` is the probability that it does a task of that complexity well, by
    label of the complexity classifier; a label that is missing counts as 0.
    """

    name: str
    provider: str = TRITON
    model: str = ""  # the provider's name for it; empty: the same name
    capabilities: frozenset[Capability] = frozenset({Capability.CHAT, Capability.TOOLS})
    context_tokens: int = Field(default=1024, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    input_price: int = Field(default=0, ge=0)
    cached_input_price: int | None = Field(default=None, ge=0)
    output_price: int = Field(default=0, ge=0)
    max_in_flight: int = Field(default=0, ge=0)
    ttft_ms: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    tpot_ms: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    least_confidence: float = Field(default=0.9, ge=0.0, le=1.0)
    quality: Mapping[str, Probability] = Field(default_factory=dict)
    tool_format: ToolCallFormat = ToolCallFormat.HERMES
    structured_format: StructuredFormat = StructuredFormat.STRUCTURED_OUTPUTS

    @property
    def constrains(self) -> bool:
        return Capability.STRUCTURED in self.capabilities

    @property
    def served_as(self) -> str:
        return self.model or self.name

    def cost_micros(self, usage: Usage) -> int:
        """The price of these tokens, rounded up to a whole micro-unit."""
        cached = min(usage.cached_prompt_tokens, usage.prompt_tokens)
        total = (
            (usage.prompt_tokens - cached) * self.input_price
            + cached * self.cached_read_price
            + usage.completion_tokens * self.output_price
        )
        return -(-total // 1_000_000)

    def priced(self, usage: Usage) -> Usage:
        return usage.model_copy(update={"cost_micros": self.cost_micros(usage)})

    def call(self, usage: Usage, outcome: CallOutcome = CallOutcome.USED) -> ModelCall:
        """The call that took so much, priced; a cached answer costs nothing."""
        free = outcome is CallOutcome.CACHED
        return ModelCall(
            model=self.name,
            outcome=outcome,
            usage=usage.model_copy(update={"cost_micros": 0}) if free else self.priced(usage),
            input_price=self.input_price,
            cached_input_price=self.cached_read_price,
            output_price=self.output_price,
        )

    @property
    def most_micros(self) -> int:
        """What one call costs at most: a full context, of which the answer is the dearest part."""
        prompt = max(0, self.context_tokens - self.max_new_tokens)
        priced = [
            Usage(prompt_tokens=prompt, completion_tokens=self.max_new_tokens),
            Usage(prompt_tokens=self.context_tokens),
        ]
        return max(map(self.cost_micros, priced))

    @property
    def cached_read_price(self) -> int:
        return self.input_price if self.cached_input_price is None else self.cached_input_price


Catalogue = Mapping[str, ModelEntry]


def dearest_call_micros(catalogue: Catalogue) -> int:
    """Returns what one call costs at most, whichever of the models it is."""
    return max((entry.most_micros for entry in catalogue.values()), default=0)
