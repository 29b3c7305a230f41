"""What is counted of calls of models that do not go straight."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from orchestrator.execution.breaker import Circuit


class GuardMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._circuit = Gauge(
            "fleet_model_circuit",
            "1 for the state of a model's circuit breaker here",
            ["model", "state"],
            registry=registry,
        )
        self._retries = Counter(
            "fleet_model_retries", "Calls made again", ["model"], registry=registry
        )
        self._limits = Counter(
            "fleet_model_rate_limits", "Calls refused by a rate limit", ["model"], registry=registry
        )
        self._hedges = Counter(
            "fleet_model_hedges", "Calls sent a second time", ["model"], registry=registry
        )

    def circuit(self, model: str, now: Circuit) -> None:
        for state in Circuit:
            self._circuit.labels(model, state.value).set(state is now)

    def retried(self, model: str) -> None:
        self._retries.labels(model).inc()

    def rate_limited(self, model: str) -> None:
        self._limits.labels(model).inc()

    def hedged(self, model: str) -> None:
        self._hedges.labels(model).inc()
