"""How often callers are asked whether they are still there."""

import pytest

from backends.llm_serving.cancellation import MOST_SHARE, Cadence, asking_share

CALL_S = 60e-6


def settled(calls: int, step_s: float) -> float:
    cadence = Cadence()
    for _ in range(200):
        pause_s = cadence.pause_s(calls, calls * CALL_S, step_s)
    return pause_s


@pytest.mark.parametrize("calls", [1, 4, 16, 64, 256, 4096])
@pytest.mark.parametrize("step_s", [0.0, 0.0005, 0.03])
def test_asking_stays_within_its_share_of_a_cpu(calls: int, step_s: float) -> None:
    spent_s = calls * CALL_S
    assert spent_s / (spent_s + settled(calls, step_s)) <= asking_share(calls) * 1.01


@pytest.mark.parametrize("calls", [1, 4, 16, 32])
def test_few_callers_are_asked_twice_in_a_step(calls: int) -> None:
    assert calls * CALL_S + settled(calls, 0.04) == pytest.approx(0.02)


def test_many_callers_get_a_smaller_share_than_few() -> None:
    assert asking_share(1) == asking_share(16) == MOST_SHARE
    assert asking_share(64) == 0.125
    assert asking_share(256) == 0.0625


def test_a_slow_model_does_not_make_a_cancel_wait_for_half_its_step() -> None:
    assert settled(1, 10.0) < 0.05


def test_one_round_in_which_the_cpu_was_away_is_not_followed_by_a_long_pause() -> None:
    cadence = Cadence()
    before = cadence.pause_s(1, 1e-4, 0.0005)
    assert cadence.pause_s(1, 0.05, 0.0005) < 2 * before
