"""Chat models behind Anthropic's API."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic import AsyncAnthropic, AsyncStream, Omit

from orchestrator.adapters.anthropic_models.answer import AnthropicAnswer
from orchestrator.adapters.anthropic_models.parameters import of_anthropic, parameters
from orchestrator.adapters.provider_connection.connection import ProviderConnection
from orchestrator.adapters.provider_connection.failures import Refusal
from orchestrator.adapters.provider_connection.language_model import ProviderModels
from orchestrator.adapters.provider_connection.pool import Call, Pieces
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatRequest

_NO_KEY = "none"


class AnthropicModels(ProviderModels):
    """`messages`, streamed, through the official SDK. It tells no probabilities of tokens."""

    errors = anthropic.AnthropicError

    def __init__(
        self,
        settings: ProviderConnection,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, catalogue, clock=clock, wall_clock=wall_clock)
        self._of_anthropic = of_anthropic(settings.base_url)
        self._client = AsyncAnthropic(
            api_key=_NO_KEY,
            base_url=settings.base_url,
            max_retries=0,
            default_headers=self._headers(),
            http_client=self._pool.client,
            open_telemetry=False,  # its spans can hold prompts
        )

    async def _open(self, call: Call, entry: ModelEntry, request: ChatRequest, room: int) -> None:
        values = parameters(entry, request, room, anthropic=self._of_anthropic)
        await call.open(self._create(values))

    def _answer(self, request: ChatRequest, prompt_tokens: int) -> AnthropicAnswer:
        return AnthropicAnswer(self._settings.name, request, prompt_tokens)

    async def _create(self, values: dict[str, Any]) -> Pieces:
        raw = self._keyed().messages.with_raw_response
        response = await raw.create(**values, extra_headers=self._omitted())
        # As plain JSON: what compatible servers send is not always what the SDK's types say.
        stream: AsyncStream[object] = await response.parse(to=AsyncStream[object])
        return stream

    async def _list_models(self) -> None:
        raw = self._keyed().models.with_raw_response
        await raw.list(limit=1, extra_headers=self._omitted())

    def _failed(self, error: Exception) -> Refusal | None:
        if not isinstance(error, anthropic.APIStatusError):
            return None
        body = error.body.get("error") if isinstance(error.body, dict) else None
        return Refusal.read(error.status_code, body, error.response.headers)

    def _keyed(self) -> AsyncAnthropic:
        self._client.api_key = self._key() or _NO_KEY
        return self._client

    def _omitted(self) -> dict[str, Any]:
        return {"Authorization": Omit()} if self._keyless else {}
