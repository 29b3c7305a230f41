"""What every LLM backend publishes, under the same names whatever the engine.

Every update costs Triton's Python backend a round trip to the server, so they are gathered and
written by a thread of their own: the number of running requests at once, the rest now and then.
"""

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from backends.llm_serving.engine import Load
from backends.llm_serving.trace import UNTRACED, Trace

Kind = Literal["counter", "gauge", "histogram"]
WRITE_INTERVAL_S = 0.05
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PER_TOKEN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

REASONS = ("stop", "length", "cancelled", "invalid", "unavailable")
COUNTERS = {
    "fleet_llm_prompt_tokens_total": "Tokens of the prompts taken in.",
    "fleet_llm_generation_tokens_total": "Tokens generated.",
    "fleet_llm_engine_steps_total": "Steps the engine has run.",
    "fleet_llm_engine_deaths_total": "Times the engine has died.",
}
RUNNING = "fleet_llm_requests_running"
FINISHED = "fleet_llm_requests_finished_total"
GAUGES = {
    RUNNING: "Requests in the engine's last step, less those cancelled since.",
    "fleet_llm_requests_waiting": "Requests the engine has taken in but not scheduled.",
    "fleet_llm_kv_cache_usage_ratio": "Share of the KV cache in use, 0 to 1.",
    "fleet_llm_engine_up": "1 while the engine can take requests, else 0.",
}
HISTOGRAMS = {
    "fleet_llm_time_to_first_token_seconds": (
        "From a request's arrival to its first token's message.",
        LATENCY_BUCKETS_S,
    ),
    "fleet_llm_time_per_output_token_seconds": (
        "Between output tokens after the first, averaged over a request.",
        PER_TOKEN_BUCKETS_S,
    ),
    "fleet_llm_e2e_request_latency_seconds": (
        "From a request's arrival to its last message.",
        LATENCY_BUCKETS_S,
    ),
}


class Series(ABC):
    """One time series of a metrics registry."""

    @abstractmethod
    def increment(self, by: float) -> None: ...

    @abstractmethod
    def set(self, value: float) -> None: ...

    @abstractmethod
    def observe(self, value: float) -> None: ...


class Registry(ABC):
    @abstractmethod
    def series(
        self,
        kind: Kind,
        name: str,
        description: str,
        labels: Mapping[str, str],
        buckets: tuple[float, ...] = (),
    ) -> Series: ...


class Metrics:
    def __init__(
        self, registry: Registry, labels: Mapping[str, str], trace: Trace = UNTRACED
    ) -> None:
        self._trace = trace
        self._series: dict[str, Series] = {}
        for name, description in COUNTERS.items():
            self._series[name] = registry.series("counter", name, description, labels)
        for reason in REASONS:
            self._series[f"{FINISHED} {reason}"] = registry.series(
                "counter", FINISHED, "Requests ended, by reason.", {**labels, "reason": reason}
            )
        for name, description in GAUGES.items():
            self._series[name] = registry.series("gauge", name, description, labels)
        for name, (description, buckets) in HISTOGRAMS.items():
            self._series[name] = registry.series("histogram", name, description, labels, buckets)
        self._changed = threading.Condition()
        self._counts: defaultdict[str, float] = defaultdict(float)
        self._values: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._observed: list[tuple[str, float]] = []
        self._steps = 0
        self._running = 0
        self._urgent = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="metrics", daemon=True)
        self._writer.start()

    def load(self, load: Load) -> None:
        with self._changed:
            if load.running != self._running:
                self._running = load.running
                self._urgent.set()
            self._values[RUNNING] = load.running
            self._values["fleet_llm_requests_waiting"] = load.waiting
            self._values["fleet_llm_kv_cache_usage_ratio"] = load.kv_usage
            self._counts["fleet_llm_engine_steps_total"] += max(0, load.steps - self._steps)
            self._steps = load.steps
            self._changed.notify()

    def engine_up(self, up: bool) -> None:
        with self._changed:
            self._values["fleet_llm_engine_up"] = 1.0 if up else 0.0
            if not up:
                self._running = 0
                self._values[RUNNING] = 0.0
                self._values["fleet_llm_requests_waiting"] = 0.0
            self._steps = 0
            self._changed.notify()

    def engine_died(self) -> None:
        self.engine_up(False)
        self._count("fleet_llm_engine_deaths_total", 1)

    def tokens(self, *, prompt: int, generated: int) -> None:
        with self._changed:
            self._counts["fleet_llm_prompt_tokens_total"] += prompt
            self._counts["fleet_llm_generation_tokens_total"] += generated

    def first_token(self, seconds: float) -> None:
        self._observe("fleet_llm_time_to_first_token_seconds", seconds)

    def ended(self, reason: str) -> None:
        self._count(f"{FINISHED} {reason}", 1)

    def served(self, reason: str, *, e2e_s: float, per_token_s: float | None) -> None:
        """A reason that only some engines have counts as a stop."""
        self._observe("fleet_llm_e2e_request_latency_seconds", e2e_s)
        if per_token_s is not None:
            self._observe("fleet_llm_time_per_output_token_seconds", per_token_s)
        self.ended(reason if reason in REASONS else "stop")

    def close(self) -> None:
        self._closing.set()
        self._urgent.set()
        with self._changed:
            self._changed.notify()
        self._writer.join()

    def _count(self, name: str, by: float) -> None:
        with self._changed:
            self._counts[name] += by
            self._changed.notify()

    def _observe(self, name: str, value: float) -> None:
        with self._changed:
            self._observed.append((name, value))
            self._changed.notify()

    def _write_on(self) -> None:
        while True:
            with self._changed:
                while not (self._counts or self._values or self._observed):
                    if self._closing.is_set():
                        return
                    self._changed.wait()
                if not self._closing.is_set():
                    self._urgent.clear()
                counts, self._counts = self._counts, defaultdict(float)
                values, self._values = self._values, {}
                observed, self._observed = self._observed, []
            self._write(counts, values, observed)
            self._urgent.wait(WRITE_INTERVAL_S)

    def _write(
        self,
        counts: Mapping[str, float],
        values: Mapping[str, float],
        observed: list[tuple[str, float]],
    ) -> None:
        for name, value in values.items():
            self._set(name, value)
        for name, by in counts.items():
            if by:
                self._series[name].increment(by)
        for name, value in observed:
            self._series[name].observe(value)
            if self._urgent.is_set():
                self._set(RUNNING, self._running)

    def _set(self, name: str, value: float) -> None:
        if self._written.get(name) == value:
            return
        self._series[name].set(value)
        self._written[name] = value
        if name == RUNNING:
            self._trace.note("running", int(value))
