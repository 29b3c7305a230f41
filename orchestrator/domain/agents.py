"""Agents: immutable, versioned instructions."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from orchestrator.domain.base import Value


class Preference(StrEnum):
    CHEAPEST_THAT_CAN = "cheapest_that_can"
    FASTEST = "fastest"
    BEST = "best"


class PolicyWeights(Value):
    """What a candidate's estimated quality, cost and latency count for; one is above 0."""

    quality: float = Field(default=0.0, ge=0.0, le=1e6, allow_inf_nan=False)
    cost: float = Field(default=0.0, ge=0.0, le=1e6, allow_inf_nan=False)
    latency: float = Field(default=0.0, ge=0.0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_counts(self) -> Self:
        if not (self.quality or self.cost or self.latency):
            raise ValueError("one of quality, cost and latency has to be above 0")
        return self


class ModelPolicy(Value):
    """Which model answers. No `models` means every model of the catalogue.

    `weights` stand instead of the preference. With `cascade` a cheaper model may be asked
    first where the estimate is uncertain; its answer is checked before anybody sees it.
    """

    preference: Preference = Preference.CHEAPEST_THAT_CAN
    models: tuple[str, ...] = ()
    weights: PolicyWeights | None = None
    cascade: bool = False


class Sampling(Value):
    """`temperature` 0 is greedy; `max_tokens` 0 is the model's default."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    max_tokens: int = Field(default=0, ge=0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    stop: tuple[str, ...] = ()
    seed: int | None = Field(default=None, ge=0)


class Budget(Value):
    """Limits of one run; 0 is no limit. Cost is in millionths of the catalogue's currency."""

    max_steps: int = Field(default=0, ge=0)
    max_tokens: int = Field(default=0, ge=0)
    max_cost_micros: int = Field(default=0, ge=0)


class ClientTool(Value):
    """A tool that the caller runs. `parameters_json` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters_json: str = "{}"


class AgentSpec(Value):
    """What an agent is.

    `approvals` names tools whose calls a person approves first, `agents` those it may
    start as tools, `handovers` those it may give the session to. An interrupt that
    nobody answers within `interrupt_timeout_ms` (0: the service's default) is answered
    with an error that the model sees. `timeout_ms` does not count interrupted time.
    With `output_schema_json`, a JSON Schema, its runs' results are JSON that fits it.
    """

    description: str = ""
    system_prompt: str = ""
    tools: tuple[str, ...] = ()
    client_tools: tuple[ClientTool, ...] = ()
    approvals: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    handovers: tuple[str, ...] = ()
    policy: ModelPolicy = ModelPolicy()
    sampling: Sampling = Sampling()
    budget: Budget = Budget()
    timeout_ms: int = Field(default=0, ge=0)
    interrupt_timeout_ms: int = Field(default=0, ge=0)
    output_schema_json: str = ""


class Agent(Value):
    """`builtin`: the service stored this version, not the tenant."""

    name: str
    version: int = Field(ge=1)
    spec: AgentSpec
    created_ms: int
    builtin: bool = False

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"
