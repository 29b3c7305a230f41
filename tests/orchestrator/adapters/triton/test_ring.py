"""Where sessions live."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestrator.adapters.triton.ring import Ring

KEYS = [f"session-{n}" for n in range(3000)]


def homes(ring: Ring) -> list[str]:
    return [next(ring.order(key)) for key in KEYS]


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_every_place_has_about_its_share(count: int) -> None:
    found = Counter(homes(Ring([f"gpu{n}:8001" for n in range(count)])))
    assert len(found) == count
    for share in found.values():
        assert 0.6 / count < share / len(KEYS) < 1.5 / count


@pytest.mark.parametrize("count", [2, 5, 10])
def test_one_that_goes_moves_no_session_but_its_own(count: int) -> None:
    urls = [f"gpu{n}:8001" for n in range(count)]
    before, after = homes(Ring(urls)), homes(Ring(urls[:-1]))
    moved = [old for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) <= {urls[-1]}


@pytest.mark.parametrize("count", [2, 5, 10])
def test_one_that_comes_takes_little_more_than_its_share(count: int) -> None:
    urls = [f"gpu{n}:8001" for n in range(count)]
    before, after = homes(Ring(urls)), homes(Ring([*urls, "new:8001"]))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"new:8001"}
    assert len(moved) / len(KEYS) < 1 / (count + 1) + 0.06


def test_the_order_has_every_place_once_and_does_not_depend_on_how_they_are_listed() -> None:
    urls = ["a:1", "b:1", "c:1"]
    one, two = Ring(urls), Ring(urls[::-1])
    for key in KEYS[:50]:
        order = list(one.order(key))
        assert sorted(order) == urls
        assert order == list(two.order(key))
