"""What a step may still take of its run's budget."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import Exhausted
from orchestrator.domain.runs import Run, Usage

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """None is no limit. Prices are the model's, as in the catalogue."""

    tokens: int | None = None
    cost_micros: int | None = None
    input_price: int = 0
    output_price: int = 0

    def new_tokens(self, prompt_tokens: int, wanted: int) -> int:
        """Returns how many tokens the answer to such a prompt may have, at most `wanted`.

        Raises:
            Exhausted: BUDGET, the prompt alone takes all that is left.
        """
        if self.tokens is not None:
            if prompt_tokens >= self.tokens:
                raise _over("max_tokens", self.tokens, f"a prompt of {prompt_tokens} tokens")
            wanted = min(wanted, self.tokens - prompt_tokens)
        if self.cost_micros is not None:
            left = self.cost_micros * _MICROS - prompt_tokens * self.input_price
            if left < self.output_price or left < 0:
                raise _over("max_cost_micros", self.cost_micros, f"{prompt_tokens} prompt tokens")
            wanted = min(wanted, left // self.output_price) if self.output_price else wanted
        return wanted

    def spent_by(self, usage: Usage) -> bool:
        """Says whether a step that took so much took all."""
        return (self.tokens is not None and usage.tokens >= self.tokens) or (
            self.cost_micros is not None
            and usage.cost_micros * _MICROS + self.output_price > self.cost_micros * _MICROS
        )


UNLIMITED = Allowance()


def left_of(run: Run, entry: ModelEntry) -> Allowance:
    """Returns what the run's budget leaves for its current step.

    Raises:
        Exhausted: BUDGET, nothing is left.
    """
    budget, usage = run.budget, run.usage
    if budget.max_steps and run.step > budget.max_steps:
        raise _over("max_steps", budget.max_steps, f"step {run.step}")
    if not budget.max_tokens and not budget.max_cost_micros:
        return UNLIMITED
    if 0 < budget.max_cost_micros < usage.cost_micros:
        raise _over("max_cost_micros", 0, "a further step")
    return Allowance(
        tokens=max(0, budget.max_tokens - usage.tokens) if budget.max_tokens else None,
        cost_micros=(
            max(0, budget.max_cost_micros - usage.cost_micros) if budget.max_cost_micros else None
        ),
        input_price=entry.input_price,
        output_price=entry.output_price,
    )


def _over(name: str, left: int, what: str) -> Exhausted:
    return Exhausted(f"budget.{name} leaves {left}: too little for {what}", reason="BUDGET")
