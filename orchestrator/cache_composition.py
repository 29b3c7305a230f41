"""Opens the cache of answers of the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from orchestrator.adapters.redis_answers import open_redis_answers
from orchestrator.domain.catalogue import Catalogue
from orchestrator.model_calls.cache_metrics import CacheMetrics
from orchestrator.model_calls.cached import Cached
from orchestrator.model_calls.semantic import SemanticIndex
from orchestrator.ports.answers import AnswerLimits
from orchestrator.ports.models import Embedder, LanguageModel, ModelVersions
from orchestrator.settings import Settings


@asynccontextmanager
async def open_cached(
    settings: Settings,
    inner: LanguageModel,
    *,
    catalogue: Catalogue,
    versions: ModelVersions,
    embedder: Embedder,
    registry: CollectorRegistry,
) -> AsyncIterator[LanguageModel]:
    """`inner` behind the cache; itself where the settings turn the cache off."""
    section = settings.cache
    if not section.enabled:
        yield inner
        return
    limits = AnswerLimits(
        ttl_s=section.ttl_s,
        entries=section.entries,
        bytes=section.bytes,
        answer_bytes=section.answer_bytes,
    )
    async with open_redis_answers(settings.redis.address, limits) as answers:
        semantic = SemanticIndex(
            embedder,
            answers,
            threshold=section.semantic.threshold,
            candidates=section.semantic.candidates,
        )
        async with Cached(
            inner,
            answers,
            catalogue=catalogue,
            versions=versions,
            metrics=CacheMetrics(registry),
            semantic=semantic if section.semantic.enabled else None,
            generation=section.generation,
        ) as cached:
            yield cached
