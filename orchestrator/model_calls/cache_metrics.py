"""What the cache of answers counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from orchestrator.ports.answers import Put

MISS, BYPASSED = "miss", "bypassed"


class CacheMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "fleet_cache_answers",
            "Answers by where they came from: exact, semantic or shared are hits, a miss asked "
            "the model, bypassed ones are never cached",
            ["model", "kind"],
            registry=registry,
        )
        self._stored = Counter("fleet_cache_stored", "Answers stored", registry=registry)
        self._bytes = Counter("fleet_cache_stored_bytes", "Bytes stored", registry=registry)
        self._evicted = Counter(
            "fleet_cache_evicted", "Answers that had to go for others", registry=registry
        )

    def answered(self, model: str, kind: str) -> None:
        """`kind`: a `CacheHit`, MISS or BYPASSED."""
        self._answers.labels(model, kind).inc()

    def put(self, put: Put) -> None:
        if put.stored:
            self._stored.inc()
            self._bytes.inc(put.added_bytes)
            self._evicted.inc(put.evicted)
