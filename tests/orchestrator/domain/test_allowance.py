from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.agents import Budget
from orchestrator.domain.allowance import left_of
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import Exhausted
from orchestrator.domain.runs import Run, Usage

small = st.integers(0, 5_000)


@given(
    budget=st.builds(Budget, max_tokens=small, max_cost_micros=small),
    used=st.builds(Usage, prompt_tokens=small, completion_tokens=small, cost_micros=small),
    prices=st.tuples(st.integers(0, 3_000_000), st.integers(0, 3_000_000)),
    prompt=small,
    wanted=st.integers(1, 1_000),
)
def test_no_answer_that_is_allowed_breaks_the_budget(
    budget: Budget, used: Usage, prices: tuple[int, int], prompt: int, wanted: int
) -> None:
    entry = ModelEntry(name="m", input_price=prices[0], output_price=prices[1])
    run = Run(
        run_id="r", tenant="t", session_id="s", agent="a@1", input="", budget=budget, usage=used
    )
    try:
        tokens = left_of(run, entry).new_tokens(prompt, wanted)
    except Exhausted:
        least = Usage(prompt_tokens=prompt, completion_tokens=1)
        assert breaks(budget, used, least, entry)
    else:
        assert 1 <= tokens <= wanted
        answer = Usage(prompt_tokens=prompt, completion_tokens=tokens)
        assert not breaks(budget, used, answer, entry)
        if tokens < wanted:
            longer = Usage(prompt_tokens=prompt, completion_tokens=tokens + 1)
            assert breaks(budget, used, longer, entry)


def breaks(budget: Budget, used: Usage, step: Usage, entry: ModelEntry) -> bool:
    tokens = used.tokens + step.tokens
    cost = used.cost_micros + entry.cost_micros(step)
    return (budget.max_tokens > 0 and tokens > budget.max_tokens) or (
        budget.max_cost_micros > 0 and cost > budget.max_cost_micros
    )


def test_a_step_beyond_the_last_is_refused() -> None:
    run = Run(
        run_id="r",
        tenant="t",
        session_id="s",
        agent="a@1",
        input="",
        step=4,
        budget=Budget(max_steps=3),
    )
    with pytest.raises(Exhausted, match="max_steps"):
        left_of(run, ModelEntry(name="m"))
