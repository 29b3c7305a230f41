from __future__ import annotations

import pytest

from orchestrator.domain.fairness import Service, jain, window_index


def sample(**served: float) -> dict[str, Service]:
    return {tenant: Service(total, 1.0, True) for tenant, total in served.items()}


@pytest.mark.parametrize(
    ("shares", "index"),
    [((5.0, 5.0, 5.0), 1.0), ((9.0, 0.0, 0.0), 1 / 3), ((2.0, 1.0), 0.9)],
)
def test_the_index_is_one_for_equal_shares_and_one_nth_when_one_has_all(
    shares: tuple[float, ...], index: float
) -> None:
    assert jain(shares) == pytest.approx(index)


@pytest.mark.parametrize("shares", [(), (3.0,), (0.0, 0.0)])
def test_there_is_no_index_where_nothing_was_shared(shares: tuple[float, ...]) -> None:
    assert jain(shares) is None


def test_only_what_was_served_within_the_window_counts() -> None:
    samples = [sample(a=1_000, b=0), sample(a=1_005, b=6), sample(a=1_010, b=10)]
    assert window_index(samples) == pytest.approx(1.0)


def test_a_tenant_that_once_had_no_backlog_does_not_count() -> None:
    idle = {**sample(a=5, b=5), "c": Service(0, 1.0, False)}
    samples = [sample(a=0, b=0, c=0), idle, sample(a=10, b=10, c=0)]
    assert window_index(samples) == pytest.approx(1.0)
    assert window_index([samples[0], sample(a=5, b=5, c=0), samples[2]]) == pytest.approx(2 / 3)


def test_a_tenant_of_double_weight_may_have_double() -> None:
    first = {"a": Service(0, 1.0, True), "b": Service(0, 2.0, True)}
    last = {"a": Service(10, 1.0, True), "b": Service(20, 2.0, True)}
    assert window_index([first, last]) == pytest.approx(1.0)
    assert window_index([first]) is None
