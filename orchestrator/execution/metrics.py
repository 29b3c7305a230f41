"""What worker and toolbox count."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from orchestrator.domain.runs import StepRecord, Usage
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import TenantLoad

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
NAMED_TENANTS = 50
OTHER = "other"


class ExecutionMetrics:
    """Counters of the claim loop, of inference steps and of the fair queue, in `registry`."""

    def __init__(self, registry: CollectorRegistry, *, named_tenants: int = NAMED_TENANTS) -> None:
        self._tenants = _Names(named_tenants)
        self._models: dict[str, tuple[Counter, Counter, Counter, Histogram]] = {}
        self._registry = registry
        self.claims = self._counter("items_claimed", "Items claimed", "kind", "again")
        self.dropped = self._counter("items_dropped", "Items not committed", "kind", "reason")
        self.back = self._counter(
            "items_handed_back", "Items given back to be claimed again", "kind", "counts"
        )
        self.running = self._gauge("items_running", "Items being carried out")
        self.seconds = self._histogram("item_seconds", "Time from claim to commit", "kind")
        self.waits = self._histogram(
            "wait_seconds", "Time that an item was ready before it was claimed", "kind", "tenant"
        )
        self._queued = self._gauge("queue_items", "Items ready to be claimed, everywhere")
        self._leased = self._gauge("queue_leased", "Items leased, everywhere")
        self._jain = self._gauge(
            "fairness_jain", "Jain's index of service by weight among backlogged tenants"
        )
        self._reaped = self._counter("leases_reaped", "Expired leases queued again")
        self._overdue = self._counter("runs_overdue", "Runs that ended at their timeout unattended")
        self._tokens = self._counter("tokens", "Tokens used", "model", "kind")
        self._cost = self._counter("cost_micros", "Cost in millionths of the currency", "model")
        self._ttft = self._histogram(
            "time_to_first_token_seconds",
            "From the request to the model until its first text",
            "model",
        )
        self._left = self._counter(
            "model_fallbacks", "Times a step left a model that failed for another", "model"
        )
        self._tools = self._counter("tool_calls", "Tries of tool calls", "tool", "outcome")

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(f"fleet_{name}", said, labels, registry=self._registry)

    def _gauge(self, name: str, said: str) -> Gauge:
        return Gauge(f"fleet_{name}", said, ["kind"], registry=self._registry)

    def _histogram(self, name: str, said: str, *labels: str) -> Histogram:
        return Histogram(f"fleet_{name}", said, labels, buckets=_SECONDS, registry=self._registry)

    def of(self, kind: WorkKind) -> KindMetrics:
        return KindMetrics(self, kind)

    def tenant(self, tenant: str) -> str:
        """The label of a tenant: its name for the first ones, `other` for the rest."""
        return self._tenants.of(tenant)

    def reaped(self, count: int) -> None:
        self._reaped.inc(count)

    def overdue(self) -> None:
        self._overdue.inc()

    def loaded(self, kind: WorkKind, loads: Collection[TenantLoad]) -> None:
        self._queued.labels(kind.value).set(sum(load.queued for load in loads))
        self._leased.labels(kind.value).set(sum(load.running for load in loads))

    def fair(self, kind: WorkKind, index: float) -> None:
        self._jain.labels(kind.value).set(index)

    def tool_called(self, tool: str, outcome: str) -> None:
        self._tools.labels(tool, outcome).inc()

    def left(self, model: str) -> None:
        self._left.labels(model).inc()

    def inferred(self, record: StepRecord) -> None:
        *_, ttft = self._of_model(record.model)
        ttft.observe(record.ttft_ms / 1000)

    def used(self, model: str, usage: Usage) -> None:
        prompt, completion, cost, _ = self._of_model(model)
        prompt.inc(usage.prompt_tokens)
        completion.inc(usage.completion_tokens)
        cost.inc(usage.cost_micros)

    def _of_model(self, model: str) -> tuple[Counter, Counter, Counter, Histogram]:
        known = self._models.get(model)
        if known is None:
            known = self._models[model] = (
                self._tokens.labels(model, "prompt"),
                self._tokens.labels(model, "completion"),
                self._cost.labels(model),
                self._ttft.labels(model),
            )
        return known


class KindMetrics:
    """The claim loop's part, for one kind of work."""

    def __init__(self, metrics: ExecutionMetrics, kind: WorkKind) -> None:
        self._metrics, self._kind = metrics, kind.value
        self._claims = {
            again: metrics.claims.labels(kind.value, str(again).lower()) for again in (False, True)
        }
        self._running = metrics.running.labels(kind.value)
        self._seconds = metrics.seconds.labels(kind.value)
        self._waits: dict[str, Histogram] = {}

    def claimed(self, claim: Claim) -> None:
        self._claims[claim.lease.attempt > 1].inc()
        self._running.inc()
        tenant = self._metrics.tenant(claim.lease.tenant)
        waits = self._waits.get(tenant)
        if waits is None:
            waits = self._waits[tenant] = self._metrics.waits.labels(self._kind, tenant)
        waits.observe(claim.waited_ms / 1000)

    def ended(self, seconds: float) -> None:
        self._running.dec()
        self._seconds.observe(seconds)

    def dropped(self, reason: str) -> None:
        self._metrics.dropped.labels(self._kind, reason).inc()

    def handed_back(self, *, counts: bool) -> None:
        self._metrics.back.labels(self._kind, str(counts).lower()).inc()


class _Names:
    """The first names that come, up to a limit: a label must not grow without bound."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        if name not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(name)
        return name
