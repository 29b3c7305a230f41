from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution.breaker import Admitted, Breaker, BreakerPolicy, Circuit, Resting

PROBE_S = 4.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, *, failures: int = 3, rest_s: float = 10.0) -> Breaker:
    breaker = Breaker(BreakerPolicy(failures=failures, rest_s=rest_s), now=clock)
    for _ in range(failures):
        breaker.failed(admitted(breaker))
    assert breaker.circuit is Circuit.OPEN
    return breaker


def admitted(breaker: Breaker) -> Admitted:
    found = breaker.admit(within_s=PROBE_S)
    assert isinstance(found, Admitted)
    return found


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker(BreakerPolicy(failures=2))
    for _ in range(5):
        breaker.failed(admitted(breaker))
        breaker.succeeded(admitted(breaker))
    assert breaker.circuit is Circuit.CLOSED


def test_an_open_one_says_how_long_it_rests() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 4.0
    assert breaker.admit(within_s=PROBE_S) == Resting(6.0)


def test_after_the_rest_one_probe_goes_and_its_success_closes() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10.0
    probe = admitted(breaker)
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)
    breaker.succeeded(probe)
    assert breaker.circuit is Circuit.CLOSED
    admitted(breaker)
    admitted(breaker)


def test_a_probe_that_fails_opens_it_for_another_rest() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10.0
    breaker.failed(admitted(breaker))
    assert breaker.admit(within_s=PROBE_S) == Resting(10.0)


def test_a_probe_that_was_withdrawn_lets_another_go() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10.0
    probe = admitted(breaker)
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)
    breaker.withdrawn(probe)
    assert isinstance(breaker.admit(within_s=PROBE_S), Admitted)
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)


def test_a_probe_that_does_not_end_in_its_time_has_failed() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10.0
    lost = admitted(breaker)
    clock.now += PROBE_S + 3.0
    assert breaker.admit(within_s=PROBE_S) == Resting(7.0)
    breaker.withdrawn(lost)
    clock.now += 7.0
    probe = admitted(breaker)
    breaker.failed(lost)
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)
    breaker.succeeded(probe)
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.parametrize("wait_s", [1.0, 8.0])
def test_a_probe_that_succeeds_late_closes_it_all_the_same(wait_s: float) -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10.0
    slow = admitted(breaker)
    clock.now += PROBE_S + 3.0
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)
    clock.now += wait_s
    breaker.admit(within_s=PROBE_S)
    breaker.succeeded(slow)
    assert breaker.circuit is Circuit.CLOSED
    breaker.failed(slow)
    assert breaker.circuit is Circuit.CLOSED


def test_what_was_admitted_before_it_opened_no_longer_counts() -> None:
    clock = Clock()
    breaker = Breaker(BreakerPolicy(failures=1, rest_s=10.0), now=clock)
    late, other = admitted(breaker), admitted(breaker)
    breaker.failed(other)
    clock.now += 10.0
    probe = admitted(breaker)
    breaker.succeeded(late)
    breaker.withdrawn(late)
    assert isinstance(breaker.admit(within_s=PROBE_S), Resting)
    breaker.failed(late)
    breaker.succeeded(probe)
    assert breaker.circuit is Circuit.CLOSED


@given(st.lists(st.sampled_from(["admit", "succeed", "fail", "withdraw", "wait"]), max_size=60))
def test_there_is_never_more_than_one_probe_and_always_a_way_back(moves: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(BreakerPolicy(failures=2, rest_s=5.0), now=clock)
    held: list[Admitted] = []
    for move in moves:
        match move:
            case "admit":
                if isinstance(found := breaker.admit(within_s=PROBE_S), Admitted):
                    held.append(found)
            case "wait":
                clock.now += 3.0
            case _ if held:
                end = {
                    "succeed": breaker.succeeded,
                    "fail": breaker.failed,
                    "withdraw": breaker.withdrawn,
                }[move]
                end(held.pop(0))
        if breaker.circuit is Circuit.HALF_OPEN:
            assert sum(a.round == breaker._round for a in held) <= 1
    for one in held:
        breaker.withdrawn(one)
    clock.now += 5.0
    breaker.succeeded(admitted(breaker))
    assert breaker.circuit is Circuit.CLOSED
