from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolRetry, ToolSpec
from orchestrator.toolbox.decision import (
    RETRY_AFTER_CAP_S,
    AskPerson,
    Busy,
    Finish,
    TryAgain,
    after,
)

ONCE, IDEMPOTENT, PURE = Effect.AT_MOST_ONCE, Effect.IDEMPOTENT, Effect.PURE


DEFAULT = ToolRetry()


def spec(effect: Effect, retry: ToolRetry = DEFAULT) -> ToolSpec:
    return ToolSpec(ToolSchema("odd", "Odd.", {"type": "object"}), effect=effect, retry=retry)


def highest(_: float, top: float) -> float:
    return top


@pytest.mark.parametrize(
    ("effect", "outcome", "attempt", "kind"),
    [
        (PURE, Outcome.OK, 1, Finish),
        (PURE, Outcome.FAILED, 1, Finish),
        (PURE, Outcome.TRANSIENT, 1, TryAgain),
        (PURE, Outcome.UNKNOWN, 2, TryAgain),
        (IDEMPOTENT, Outcome.UNKNOWN, 1, TryAgain),
        (IDEMPOTENT, Outcome.UNKNOWN, 3, Finish),
        (IDEMPOTENT, Outcome.TRANSIENT, 3, Finish),
        (ONCE, Outcome.OK, 1, Finish),
        (ONCE, Outcome.TRANSIENT, 1, TryAgain),
        (ONCE, Outcome.TRANSIENT, 3, Finish),
        (ONCE, Outcome.UNKNOWN, 1, AskPerson),
        (ONCE, Outcome.UNKNOWN, 3, AskPerson),
    ],
)
def test_effect_outcome_and_attempt_decide(
    effect: Effect, outcome: Outcome, attempt: int, kind: type
) -> None:
    decided = after(spec(effect), ToolResult(outcome, "why"), attempt=attempt, draw=highest)
    assert type(decided) is kind


@given(st.sampled_from(Effect), st.sampled_from(Outcome), st.integers(1, 50))
def test_what_may_have_happened_is_never_tried_again_unless_it_may_be(
    effect: Effect, outcome: Outcome, attempt: int
) -> None:
    decided = after(spec(effect), ToolResult(outcome, "why"), attempt=attempt, draw=highest)
    if isinstance(decided, TryAgain):
        assert attempt < 3
        assert effect is not ONCE or outcome is Outcome.TRANSIENT
        # The queue would count it as a second try of what must not happen twice.
        assert not (effect is ONCE and decided.elsewhere)


def test_waits_double_up_to_the_cap_and_a_tools_own_wait_goes_before() -> None:
    some = spec(PURE, ToolRetry(max_attempts=9, base_s=1.0, cap_s=3.0))

    def delay_s(attempt: int, retry_after_s: float = 0.0) -> float:
        result = ToolResult(Outcome.TRANSIENT, "why", retry_after_s)
        decided = after(some, result, attempt=attempt, draw=highest)
        assert isinstance(decided, TryAgain)
        return decided.delay_s

    assert [delay_s(attempt) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, 3.0]
    assert delay_s(1, 7.0) == 7.0
    assert delay_s(1, 7_000.0) == RETRY_AFTER_CAP_S


def test_a_call_that_found_no_place_has_used_no_attempt() -> None:
    decided = after(spec(ONCE), Busy(), attempt=1, draw=highest)
    assert decided == TryAgain(0.5, elsewhere=True, counts=False)
