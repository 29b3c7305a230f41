"""Opens the models of the settings: Triton's, the providers', and what is between them and us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from orchestrator.adapters.triton import (
    TritonConnection,
    TritonLanguageModel,
    TritonModelControl,
    TritonRouter,
)
from orchestrator.added_models import LiveCatalogue, ModelStore
from orchestrator.domain.catalogue import TRITON, Catalogue
from orchestrator.model_calls.classified import CachedClassifier
from orchestrator.model_calls.observed import Observed
from orchestrator.model_calls.providers import Providers
from orchestrator.model_calls.router import LiveModels
from orchestrator.ports.model_control import ModelControl
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True)
class Models:
    catalogue: Catalogue
    language: LanguageModel
    classifier: RequestClassifier
    embedder: Embedder
    live: LiveModels


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncIterator[Models]:
    """All models, as long as the context lasts."""
    async with AsyncExitStack() as opened:
        catalogue = await opened.enter_async_context(_catalogue(settings))
        triton = await opened.enter_async_context(TritonConnection(settings.triton.grpc_address))
        router = TritonRouter(triton)
        providers = Providers(catalogue, {TRITON: TritonLanguageModel(triton, catalogue)})
        observed = Observed(providers)
        live = LiveModels(
            away=lambda: dict.fromkeys(catalogue.unloaded(), "not loaded"), signals=observed.signals
        )
        yield Models(catalogue, observed, CachedClassifier(router), router, live)


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
    address: str, catalogue: Catalogue
) -> AsyncIterator[tuple[ModelControl, LanguageModel]]:
    """Triton at `address`: the control of its models, and those of the catalogue to ask."""
    async with TritonConnection(address) as connection:
        yield TritonModelControl(connection), TritonLanguageModel(connection, catalogue)
