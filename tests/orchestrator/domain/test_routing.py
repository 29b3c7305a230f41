from __future__ import annotations

import pytest

from orchestrator.domain.agents import ModelPolicy, PolicyWeights, Preference
from orchestrator.domain.catalogue import Capability, ModelEntry
from orchestrator.domain.errors import InvalidInput, Unavailable
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.routing import Classification, Demand, ModelSignals, decide
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
SIMPLE = Classification(task={}, complexity={"simple": 1.0}, risk={})
CHEAPEST = ModelPolicy()
IDLE = ModelSignals(in_flight=0, waiting=0, ttft_ms=20.0, tpot_ms=2.0)
SATURATED = ModelSignals(in_flight=64, waiting=40, ttft_ms=20.0, tpot_ms=2.0)


def seen_as(**complexity: float) -> Classification:
    return Classification(task={}, complexity=complexity, risk={})


def decided(
    classification: Classification = SIMPLE,
    policy: ModelPolicy = CHEAPEST,
    *,
    demand: Demand = DEMAND,
    catalogue: dict[str, ModelEntry] = CATALOGUE,
    away: dict[str, str] | None = None,
    **signals: ModelSignals,
) -> RouteDecided:
    return decide(
        demand,
        classification,
        catalogue=catalogue,
        policy=policy,
        away=away or {},
        signals=signals,
    )


def test_a_simple_request_goes_to_the_cheap_model() -> None:
    assert decided(seen_as(simple=0.9, hard=0.1)).model == "small"


def test_a_hard_request_goes_to_the_model_that_can() -> None:
    assert decided(seen_as(simple=0.1, hard=0.9)).model == "large"


def test_the_best_model_is_taken_when_none_is_good_enough() -> None:
    made = decided(seen_as(simple=0.0, hard=0.5))
    assert made.model == "large"
    assert made.reason == "none is estimated at 0.80 or better; large is the best at 0.45"


def test_the_best_is_the_one_of_the_highest_estimated_quality() -> None:
    assert decided(policy=ModelPolicy(preference=Preference.BEST)).model == "large"


def test_the_fastest_is_the_one_whose_answer_comes_first_as_things_are() -> None:
    fastest = ModelPolicy(preference=Preference.FASTEST)
    slow = ModelSignals(ttft_ms=200.0, tpot_ms=2.0)
    assert decided(policy=fastest, small=slow, large=IDLE).model == "large"
    assert decided(policy=fastest, small=IDLE, large=slow).model == "small"
    # A first token that comes soon does not help when the others take their time.
    assert decided(policy=fastest, small=IDLE, large=ModelSignals(0, 0, 5.0, 9.0)).model == "small"


def test_before_anything_was_measured_the_catalogue_says_how_fast_a_model_is() -> None:
    slow = SMALL.model_copy(update={"ttft_ms": 500.0})
    fastest = ModelPolicy(preference=Preference.FASTEST)
    made = decided(policy=fastest, catalogue={"small": slow, "large": LARGE})
    assert made.model == "large"
    assert made.candidates[0].latency_ms == 500.0


def test_who_waits_in_the_engine_delays_the_first_token_and_who_answers_all_of_them() -> None:
    idle, busy = decided(small=IDLE), decided(small=SATURATED)
    before, after = idle.candidates[0], busy.candidates[0]
    assert (before.ttft_ms, before.tpot_ms, before.latency_ms) == (20.0, 2.0, 58.0)
    assert after.ttft_ms == pytest.approx(20.0 * (1 + 64 / 12 + 40))
    assert after.tpot_ms == pytest.approx(2.0 * (1 + 64 / 12))
    assert (after.in_flight, after.waiting) == (64, 40)


def test_weights_weigh_a_saturated_cheap_model_against_a_free_dear_one() -> None:
    weights = ModelPolicy(weights=PolicyWeights(quality=0.4, cost=0.2, latency=0.4))
    assert decided(policy=weights, small=IDLE, large=IDLE).model == "small"
    made = decided(policy=weights, small=SATURATED, large=IDLE)
    assert made.model == "large"
    assert made.reason.startswith("large has the best score, 0.1")


def test_the_score_is_as_documented() -> None:
    weights = ModelPolicy(weights=PolicyWeights(quality=2.0, cost=1.0, latency=1.0))
    made = decided(policy=weights, small=IDLE, large=ModelSignals(0, 0, 40.0, 4.0))
    small, large = made.candidates
    cheap = small.cost_micros / large.cost_micros
    assert small.score == pytest.approx(0.5 * 0.95 - 0.25 * cheap - 0.25 * 0.5)
    assert large.score == pytest.approx(0.5 * 0.97 - 0.25 - 0.25)


def test_cheapest_that_can_puts_every_good_enough_model_before_the_others() -> None:
    made = decided(seen_as(simple=0.5, hard=0.5))
    small, large = made.candidates
    assert made.model == "large"
    assert (small.score, large.score) == (-0.425, 0.0)


def test_the_same_score_goes_to_the_cheaper_then_the_faster_then_the_better_model() -> None:
    twin = SMALL.model_copy(update={"name": "twin"})
    both = {"twin": twin, "small": SMALL}
    assert decided(catalogue=both).model == "small"
    assert decided(catalogue=both, small=IDLE).model == "twin"
    better = twin.model_copy(update={"quality": {"simple": 0.96}})
    assert decided(catalogue={"small": SMALL, "twin": better}).model == "twin"


def test_a_model_that_can_not_hold_the_prompt_is_excluded_with_its_reason() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=90, new_tokens=20)
    made = decided(demand=long)
    assert made.model == "large"
    assert made.candidates[0].excluded == "needs 90 + 20 tokens, its context has 100"


def test_older_turns_cost_but_do_not_exclude() -> None:
    long = Demand(frozenset({Capability.CHAT}), 900, 20, least_prompt_tokens=30)
    made = decided(demand=long)
    assert made.model == "small"
    assert made.candidates[1].cost_micros == 90 + 4
    assert made.prompt_tokens == 900


def test_a_model_that_is_away_is_passed_over_with_why() -> None:
    made = decided(away={"small": "at its limit of 8 requests in flight"})
    assert made.model == "large"
    assert made.candidates[0].excluded == "at its limit of 8 requests in flight"


def test_no_model_left_says_why_for_each() -> None:
    with pytest.raises(Unavailable, match="small: not ready; large: its breaker is open"):
        decided(away={"small": "not ready", "large": "its breaker is open"})


def test_models_that_do_not_exist_any_more_are_no_passing_trouble() -> None:
    with pytest.raises(InvalidInput, match=r"only use old, older.*is small, large, has none"):
        decided(policy=ModelPolicy(models=("old", "older")))
    assert decided(policy=ModelPolicy(models=("old", "large"))).model == "large"


def test_costs_are_whole_micro_units_rounded_up() -> None:
    assert SMALL.cost_micros(Usage(prompt_tokens=1, completion_tokens=0)) == 1
    assert LARGE.cost_micros(Usage(prompt_tokens=1000, completion_tokens=100)) == 120


def test_a_request_too_long_for_every_model_is_refused_for_good() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=990, new_tokens=20)
    with pytest.raises(InvalidInput, match="its context has 1000") as refused:
        decided(demand=long, away={"large": "not ready"})
    assert refused.value.reason == "CONTEXT_LENGTH"


def test_a_request_that_fits_a_model_that_is_down_is_not_refused_for_good() -> None:
    long = Demand(frozenset({Capability.CHAT}), prompt_tokens=90, new_tokens=20)
    with pytest.raises(Unavailable, match="large: not ready"):
        decided(demand=long, away={"large": "not ready"})


def test_an_answer_longer_than_a_model_gives_asks_for_no_more_than_it_gives() -> None:
    wanted = Demand(frozenset({Capability.CHAT}), prompt_tokens=50, new_tokens=5000)
    brief = SMALL.model_copy(update={"max_new_tokens": 30})
    assert decided(demand=wanted, catalogue={"small": brief}).model == "small"


def test_the_decision_holds_all_that_it_went_by() -> None:
    policy = ModelPolicy(preference=Preference.BEST, models=("large",))
    made = decided(policy=policy, large=SATURATED)
    assert (made.prompt_tokens, made.new_tokens, made.capabilities) == (50, 20, ("chat",))
    assert made.policy == policy
    assert made.complexity == {"simple": 1.0}
    small, large = made.candidates
    assert small.excluded == "not among the agent's models"
    assert (large.quality, large.cost_micros, large.waiting) == (0.97, 9, 40)


CASCADE = ModelPolicy(cascade=True)


def test_a_cheaper_model_that_may_well_be_right_is_tried_first() -> None:
    made = decided(seen_as(simple=0.5, hard=0.5), CASCADE)
    assert (made.model, made.escalate_to) == ("small", "large")
    assert made.reason.startswith("small is tried first, 0.57 sure to do; else large is")
    assert decided(seen_as(simple=0.5, hard=0.5)).escalate_to == ""


def test_no_model_is_tried_first_that_is_good_enough_or_seldom_right() -> None:
    certain = decided(seen_as(simple=1.0), CASCADE)
    assert (certain.model, certain.escalate_to) == ("small", "")
    hopeless = decided(seen_as(simple=0.1, hard=0.9), CASCADE)
    assert (hopeless.model, hopeless.escalate_to) == ("large", "")


def test_no_model_is_tried_first_that_saves_too_little() -> None:
    uncertain = seen_as(simple=0.5, hard=0.5)
    dear = SMALL.model_copy(update={"input_price": 50_000, "output_price": 100_000})
    assert decided(uncertain, CASCADE, catalogue={"small": dear, "large": LARGE}).escalate_to
    dear = SMALL.model_copy(update={"input_price": 90_000, "output_price": 180_000})
    made = decided(uncertain, CASCADE, catalogue={"small": dear, "large": LARGE})
    assert (made.model, made.escalate_to) == ("large", "")


@pytest.mark.parametrize(
    "policy",
    [
        ModelPolicy(cascade=True, preference=Preference.BEST),
        ModelPolicy(cascade=True, weights=PolicyWeights(quality=1.0, latency=0.1)),
    ],
    ids=["best", "weights without cost"],
)
def test_a_policy_that_does_not_look_at_cost_has_no_use_for_a_cascade(policy: ModelPolicy) -> None:
    made = decided(seen_as(simple=0.5, hard=0.5), policy)
    assert (made.model, made.escalate_to) == ("large", "")
