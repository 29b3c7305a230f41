"""What worker and toolbox count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from orchestrator.domain.runs import StepRecord
from orchestrator.domain.work import WorkKind

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ExecutionMetrics:
    """Counters of the claim loop and of inference steps, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._claims = Counter(
            "fleet_items_claimed", "Items claimed", ["kind", "again"], registry=registry
        )
        self._dropped = Counter(
            "fleet_items_dropped", "Items not committed", ["kind", "reason"], registry=registry
        )
        self._running = Gauge(
            "fleet_items_running", "Items being carried out", ["kind"], registry=registry
        )
        self._seconds = Histogram(
            "fleet_item_seconds",
            "Time from claim to commit",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._reaped = Counter(
            "fleet_leases_reaped", "Expired leases queued again", registry=registry
        )
        self._tokens = Counter("fleet_tokens", "Tokens used", ["model", "kind"], registry=registry)
        self._cost = Counter(
            "fleet_cost_micros", "Cost in millionths of the currency", ["model"], registry=registry
        )
        self._ttft = Histogram(
            "fleet_time_to_first_token_seconds",
            "From the request to the model until its first text",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tools = Counter(
            "fleet_tool_calls", "Tool calls carried out", ["tool", "ok"], registry=registry
        )

    def claimed(self, kind: WorkKind, attempt: int) -> None:
        self._claims.labels(kind.value, str(attempt > 1).lower()).inc()

    def dropped(self, kind: WorkKind, reason: str) -> None:
        self._dropped.labels(kind.value, reason).inc()

    def reaped(self, count: int) -> None:
        self._reaped.inc(count)

    def tool_called(self, tool: str, *, ok: bool) -> None:
        self._tools.labels(tool, str(ok).lower()).inc()

    def inferred(self, record: StepRecord) -> None:
        self._tokens.labels(record.model, "prompt").inc(record.usage.prompt_tokens)
        self._tokens.labels(record.model, "completion").inc(record.usage.completion_tokens)
        self._cost.labels(record.model).inc(record.usage.cost_micros)
        self._ttft.labels(record.model).observe(record.ttft_ms / 1000)

    @contextmanager
    def running(self, kind: WorkKind) -> Iterator[None]:
        began = time.perf_counter()
        self._running.labels(kind.value).inc()
        try:
            yield
        finally:
            self._running.labels(kind.value).dec()
            self._seconds.labels(kind.value).observe(time.perf_counter() - began)
