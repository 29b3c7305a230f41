"""The order in which metrics are written: one update is a round trip to the server."""

import threading
from collections.abc import Callable, Mapping

from backends.llm_serving.engine import Load
from backends.llm_serving.metrics import RUNNING, Kind, Metrics, Registry, Series

DEADLINE_S = 10.0


class WatchedSeries(Series):
    def __init__(self, name: str, written: Callable[[str, float], None]) -> None:
        self._name = name
        self._written = written

    def increment(self, by: float) -> None:
        self._written(self._name, by)

    def set(self, value: float) -> None:
        self._written(self._name, value)

    def observe(self, value: float) -> None:
        self._written(self._name, value)


class WatchedRegistry(Registry):
    def __init__(self, written: Callable[[str, float], None]) -> None:
        self._written = written

    def series(
        self,
        kind: Kind,
        name: str,
        description: str,
        labels: Mapping[str, str],
        buckets: tuple[float, ...] = (),
    ) -> Series:
        return WatchedSeries(name, self._written)


def test_the_running_gauge_does_not_wait_behind_histograms() -> None:
    order: list[tuple[str, float]] = []
    first, released, last = threading.Event(), threading.Event(), threading.Event()

    def written(name: str, value: float) -> None:
        order.append((name, value))
        if value == 101.0:
            first.set()
            assert released.wait(DEADLINE_S)
        if value == 110.0:
            last.set()

    metrics = Metrics(WatchedRegistry(written), {"model": "m"})
    metrics.first_token(101.0)
    assert first.wait(DEADLINE_S)
    for place in range(102, 111):
        metrics.first_token(float(place))
    metrics.load(Load(3, 0, 0.0, 1))
    released.set()
    assert last.wait(DEADLINE_S)
    metrics.close()

    [gauge] = [place for place, entry in enumerate(order) if entry == (RUNNING, 3.0)]
    assert gauge < order.index(("fleet_llm_time_to_first_token_seconds", 102.0))


def test_the_running_gauge_passes_histograms_that_are_being_written() -> None:
    order: list[tuple[str, float]] = []
    idle, many = threading.Event(), threading.Event()
    met, released, last = threading.Event(), threading.Event(), threading.Event()

    def written(name: str, value: float) -> None:
        order.append((name, value))
        if value == 100.0:
            idle.set()
            assert many.wait(DEADLINE_S)
        if value == 101.0:
            met.set()
            assert released.wait(DEADLINE_S)
        if value == 110.0:
            last.set()

    metrics = Metrics(WatchedRegistry(written), {"model": "m"})
    metrics.first_token(100.0)
    assert idle.wait(DEADLINE_S)
    for place in range(101, 111):
        metrics.first_token(float(place))
    many.set()
    assert met.wait(DEADLINE_S)
    metrics.load(Load(3, 0, 0.0, 1))
    released.set()
    assert last.wait(DEADLINE_S)
    metrics.close()

    assert order[order.index(("fleet_llm_time_to_first_token_seconds", 101.0)) + 1] == (
        RUNNING,
        3.0,
    )
