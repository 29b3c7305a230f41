from __future__ import annotations

import pytest

from orchestrator.domain.agents import ModelPolicy, Preference
from orchestrator.domain.catalogue import Capability, ModelEntry
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.routing import Classification, Demand, decide
from orchestrator.domain.runs import Usage

SMALL = ModelEntry(
    name="small",
    context_tokens=100,
    input_price=10,
    output_price=20,
    quality={"simple": 0.95, "hard": 0.2},
)
LARGE = ModelEntry(
    name="large",
    context_tokens=1000,
    input_price=100_000,
    output_price=200_000,
    quality={"simple": 0.97, "hard": 0.9},
)
CATALOGUE = {"small": SMALL, "large": LARGE}
DEMAND = Demand(frozenset({Capability.CHAT}), prompt_tokens=50, new_tokens=20)


def seen_as(**complexity: float) -> Classification:
    return Classification(task={}, complexity=complexity, risk={})


def chosen(
    classification: Classification,
    *,
    demand: Demand = DEMAND,
    preference: Preference = Preference.CHEAPEST_THAT_CAN,
    unready: frozenset[str] = frozenset(),
) -> str:
    policy = ModelPolicy(preference=preference)
    return decide(demand, classification, catalogue=CATALOGUE, policy=policy, unready=unready).model


def test_a_simple_request_goes_to_the_cheap_model() -> None:
    assert chosen(seen_as(simple=0.9, hard=0.1)) == "small"


def test_a_hard_request_goes_to_the_model_that_can() -> None:
    assert chosen(seen_as(simple=0.1, hard=0.9)) == "large"


def test_the_best_model_is_taken_when_none_is_good_enough() -> None:
    assert chosen(seen_as(simple=0.0, hard=0.5)) == "large"


def test_a_policy_can_ask_for_the_best_or_the_fastest() -> None:
    simple = seen_as(simple=1.0)
    assert chosen(simple, preference=Preference.BEST) == "large"
    assert chosen(seen_as(hard=1.0), preference=Preference.FASTEST) == "small"


def test_a_model_that_can_not_hold_the_prompt_is_excluded_with_its_reason() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=90, new_tokens=20)
    made = decide(long, seen_as(simple=1.0), catalogue=CATALOGUE, policy=ModelPolicy())
    assert made.model == "large"
    assert made.candidates[0].excluded == "needs 90 + 20 tokens, its context has 100"


def test_a_model_that_is_down_is_passed_over() -> None:
    assert chosen(seen_as(simple=1.0), unready=frozenset({"small"})) == "large"


def test_no_model_left_says_why_for_each() -> None:
    with pytest.raises(Unavailable, match="small: not ready; large: not ready"):
        chosen(seen_as(simple=1.0), unready=frozenset({"small", "large"}))


def test_models_that_do_not_exist_any_more_are_no_passing_trouble() -> None:
    gone = ModelPolicy(models=("old", "older"))
    with pytest.raises(InvalidInput, match=r"only use old, older.*is small, large, has none"):
        decide(DEMAND, seen_as(simple=1.0), catalogue=CATALOGUE, policy=gone)
    one = ModelPolicy(models=("old", "large"))
    made = decide(DEMAND, seen_as(simple=1.0), catalogue=CATALOGUE, policy=one)
    assert made.model == "large"


def test_costs_are_whole_micro_units_rounded_up() -> None:
    assert SMALL.cost_micros(Usage(prompt_tokens=1, completion_tokens=0)) == 1
    assert LARGE.cost_micros(Usage(prompt_tokens=1000, completion_tokens=100)) == 120


def test_a_request_too_long_for_every_model_is_refused_for_good() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=990, new_tokens=20)
    with pytest.raises(InvalidInput, match="its context has 1000") as refused:
        chosen(seen_as(simple=1.0), demand=long, unready=frozenset({"large"}))
    assert refused.value.reason == "CONTEXT_LENGTH"


def test_a_request_that_fits_a_model_that_is_down_is_not_refused_for_good() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=90, new_tokens=20)
    with pytest.raises(Unavailable, match="large: not ready"):
        chosen(seen_as(simple=1.0), demand=long, unready=frozenset({"large"}))
