"""What holds for every catalogue, policy and moment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.domain.agents import ModelPolicy, PolicyWeights, Preference
from orchestrator.domain.catalogue import Capability, ModelEntry
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.routing import Classification, Demand, ModelSignals, decide

DEMAND = Demand(frozenset({Capability.CHAT}), prompt_tokens=200, new_tokens=50)
HARD = Classification(task={}, complexity={"hard": 1.0}, risk={})
WEIGHT = st.floats(0, 100, allow_subnormal=False)
PRICE = st.integers(0, 10_000_000)
TIME = st.floats(0, 5_000, allow_subnormal=False)


@st.composite
def moments(draw: st.DrawFn) -> tuple[dict[str, ModelEntry], dict[str, ModelSignals]]:
    names = [f"m{number}" for number in range(draw(st.integers(1, 5)))]
    entries = {
        name: ModelEntry(
            name=name,
            input_price=draw(PRICE),
            output_price=draw(PRICE),
            quality={"hard": draw(st.floats(0, 1))},
        )
        for name in names
    }
    signals = {
        name: ModelSignals(
            draw(st.integers(0, 100)),
            draw(st.none() | st.integers(0, 100)),
            draw(st.none() | TIME),
            draw(st.none() | TIME),
        )
        for name in names
    }
    return entries, signals


@st.composite
def policies(draw: st.DrawFn) -> ModelPolicy:
    preference = draw(st.sampled_from(Preference))
    numbers = draw(st.tuples(WEIGHT, WEIGHT, WEIGHT))
    if draw(st.booleans()) and any(numbers):
        quality, cost, latency = numbers
        return ModelPolicy(weights=PolicyWeights(quality=quality, cost=cost, latency=latency))
    return ModelPolicy(preference=preference)


Moment = tuple[dict[str, ModelEntry], dict[str, ModelSignals]]


def made(moment: Moment, policy: ModelPolicy, away: dict[str, str] | None = None) -> RouteDecided:
    entries, signals = moment
    return decide(DEMAND, HARD, catalogue=entries, policy=policy, away=away or {}, signals=signals)


def changed(moment: Moment, name: str, **fields: object) -> Moment:
    entries, signals = moment
    return {**entries, name: entries[name].model_copy(update=fields)}, signals


@given(moments(), policies(), st.floats(0, 1))
def test_a_model_that_gets_better_is_still_taken(
    moment: Moment, policy: ModelPolicy, quality: float
) -> None:
    taken = made(moment, policy).model
    better = max(quality, moment[0][taken].quality["hard"])
    assert made(changed(moment, taken, quality={"hard": better}), policy).model == taken


@given(moments(), policies(), PRICE, PRICE)
def test_a_model_that_gets_cheaper_is_still_taken(
    moment: Moment, policy: ModelPolicy, input_price: int, output_price: int
) -> None:
    taken = made(moment, policy).model
    entry = moment[0][taken]
    cheaper = changed(
        moment,
        taken,
        input_price=min(input_price, entry.input_price),
        output_price=min(output_price, entry.output_price),
    )
    assert made(cheaper, policy).model == taken


@given(moments(), policies(), TIME, TIME, st.integers(0, 100))
def test_a_model_that_gets_faster_is_still_taken(
    moment: Moment, policy: ModelPolicy, ttft_ms: float, tpot_ms: float, in_flight: int
) -> None:
    entries, signals = moment
    taken = made(moment, policy).model
    before = signals[taken]
    faster = replace(
        before,
        in_flight=min(in_flight, before.in_flight),
        ttft_ms=min(ttft_ms, before.ttft_ms or 0.0),
        tpot_ms=min(tpot_ms, before.tpot_ms or 0.0),
    )
    assert made((entries, {**signals, taken: faster}), policy).model == taken


@given(moments(), policies(), st.data())
def test_a_model_that_is_away_is_never_taken_and_changes_nothing(
    moment: Moment, policy: ModelPolicy, data: st.DataObject
) -> None:
    entries, signals = moment
    away = data.draw(st.sets(st.sampled_from(sorted(entries))))
    here = {name: entry for name, entry in entries.items() if name not in away}
    assume(here)
    with_them = made(moment, policy, dict.fromkeys(away, "away"))
    without = made((here, signals), policy)
    assert with_them.model not in away
    assert (with_them.model, with_them.reason) == (without.model, without.reason)
    assert tuple(c for c in with_them.candidates if not c.excluded) == without.candidates


@given(moments(), policies(), st.data())
def test_equal_inputs_give_the_same_decision_in_whatever_order_the_catalogue_is(
    moment: Moment, policy: ModelPolicy, data: st.DataObject
) -> None:
    entries, signals = moment
    assert made(moment, policy) == made(moment, policy)
    names = data.draw(st.permutations(sorted(entries)))
    assert made(({n: entries[n] for n in names}, signals), policy).model == (
        made(moment, policy).model
    )


@given(moments(), policies(), st.sampled_from([2.0**-10, 0.5, 2.0, 1024.0]))
def test_weights_count_in_proportion_to_each_other_only(
    moment: Moment, policy: ModelPolicy, factor: float
) -> None:
    assume(policy.weights is not None)
    assert policy.weights is not None
    scaled = PolicyWeights(
        quality=policy.weights.quality * factor,
        cost=policy.weights.cost * factor,
        latency=policy.weights.latency * factor,
    )
    one, other = made(moment, policy), made(moment, ModelPolicy(weights=scaled))
    assert (one.model, one.candidates) == (other.model, other.candidates)


@given(moments(), policies())
def test_the_one_taken_has_the_highest_score(moment: Moment, policy: ModelPolicy) -> None:
    decision = made(moment, policy)
    scores = {candidate.model: candidate.score for candidate in decision.candidates}
    assert scores[decision.model] == max(scores.values())


@given(moments(), policies())
def test_a_cascade_tries_what_is_expected_to_cost_less_before_what_was_picked_anyhow(
    moment: Moment, policy: ModelPolicy
) -> None:
    plain = made(moment, policy)
    cascade = made(moment, policy.model_copy(update={"cascade": True}))
    assert plain.model in (cascade.model, cascade.escalate_to)
    if cascade.escalate_to:
        costs = {c.model: (c.cost_micros, c.quality) for c in cascade.candidates}
        (cost, quality), (picked, better) = costs[cascade.model], costs[cascade.escalate_to]
        assert cost + (1 - quality) * picked < picked
        assert quality < better
