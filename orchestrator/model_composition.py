"""Opens the models of the settings: Triton's, the providers', and what is between them and us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from orchestrator.adapters.triton import (
    TritonConnection,
    TritonGauges,
    TritonLanguageModel,
    TritonModelControl,
    TritonReplicas,
    TritonReplicasControl,
    TritonRouter,
    TritonVersions,
)
from orchestrator.added_models import LiveCatalogue, ModelStore
from orchestrator.cache_composition import open_cached
from orchestrator.domain.catalogue import TRITON, Catalogue
from orchestrator.execution.breaker import BreakerPolicy
from orchestrator.execution.retry import Backoff
from orchestrator.model_calls.classified import CachedClassifier
from orchestrator.model_calls.gate import GuardPolicy
from orchestrator.model_calls.guarded import Guarded
from orchestrator.model_calls.metrics import GuardMetrics
from orchestrator.model_calls.observed import Observed
from orchestrator.model_calls.providers import Providers
from orchestrator.model_calls.router import LiveModels
from orchestrator.ports.model_control import ModelControl
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.provider_composition import open_providers
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True)
class Models:
    catalogue: Catalogue
    language: LanguageModel
    classifier: RequestClassifier
    embedder: Embedder
    live: LiveModels


@asynccontextmanager
async def open_models(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Models]:
    """All models, as long as the context lasts; what they count is in `registry`."""
    async with AsyncExitStack() as opened:
        catalogue = await opened.enter_async_context(_catalogue(settings))
        triton = await opened.enter_async_context(TritonReplicas(settings.triton.grpc_addresses))
        gauges = await opened.enter_async_context(
            TritonGauges(settings.triton.metrics_urls, catalogue)
        )
        router = TritonRouter(triton)
        others = await opened.enter_async_context(open_providers(settings, catalogue))
        providers = Providers(catalogue, {TRITON: TritonLanguageModel(triton, catalogue), **others})
        observed = Observed(providers, gauges)
        guarded = Guarded(observed, catalogue, GuardMetrics(registry), _policy(settings))

        def away() -> Mapping[str, str]:
            return {**guarded.unready(), **dict.fromkeys(catalogue.unloaded(), "not loaded")}

        live = LiveModels(away=away, signals=observed.signals)
        versions = await opened.enter_async_context(
            TritonVersions(
                triton.connections,
                metrics_urls=settings.triton.metrics_urls,
                folders=[settings.models_dir / "repository", *settings.triton.repositories],
            )
        )
        cached = await opened.enter_async_context(
            open_cached(
                settings,
                guarded,
                catalogue=catalogue,
                versions=versions,
                embedder=router,
                registry=registry,
            )
        )
        yield Models(catalogue, cached, CachedClassifier(router), router, live)


def _policy(settings: Settings) -> GuardPolicy:
    section = settings.retries
    return GuardPolicy(
        max_attempts=section.max_attempts,
        backoff=Backoff(section.base_s, section.cap_s),
        wait_s=section.wait_s,
        breaker=BreakerPolicy(section.breaker_failures, section.breaker_rest_s),
        hedge_after_s=settings.routing.hedge_after_s,
    )


@asynccontextmanager
async def _catalogue(settings: Settings) -> AsyncIterator[LiveCatalogue]:
    catalogue = LiveCatalogue(settings.models, ModelStore(settings.models_dir))
    following = asyncio.create_task(catalogue.follow())
    try:
        yield catalogue
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def open_model_server(
    addresses: Sequence[str], catalogue: Catalogue, say: Callable[[str], None]
) -> AsyncIterator[tuple[ModelControl, LanguageModel]]:
    """The Tritons there: the control of their models, and those of the catalogue to ask.

    `say` is told of one that is away while others are not.
    """
    async with AsyncExitStack() as opened:
        controls = {
            address: TritonModelControl(await opened.enter_async_context(TritonConnection(address)))
            for address in addresses
        }
        replicas = await opened.enter_async_context(TritonReplicas(addresses))
        first, *others = controls.values()
        control = TritonReplicasControl(controls, on_away=say) if others else first
        yield control, TritonLanguageModel(replicas, catalogue)
