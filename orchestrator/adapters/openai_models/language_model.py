"""Chat models behind OpenAI's API."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream, Omit

from orchestrator.adapters.openai_models.answer import OpenAIAnswer
from orchestrator.adapters.openai_models.parameters import of_openai, parameters, unsupported
from orchestrator.adapters.provider_connection.connection import ProviderConnection
from orchestrator.adapters.provider_connection.failures import Refusal
from orchestrator.adapters.provider_connection.language_model import ProviderModels
from orchestrator.adapters.provider_connection.pool import Call, Pieces
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.errors import FleetError, InvalidInput

log = logging.getLogger(__name__)

_NO_KEY = "none"


class _ParameterRefused(InvalidInput):
    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class OpenAIModels(ProviderModels):
    """`chat.completions`, streamed, through the official SDK.

    A parameter that a model does not take, and can do without, is left out from then on.
    """

    errors = openai.OpenAIError

    def __init__(
        self,
        settings: ProviderConnection,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, catalogue, clock=clock, wall_clock=wall_clock)
        self._refused: dict[str, set[str]] = {}
        self._of_openai = of_openai(settings.base_url)
        self._client = AsyncOpenAI(
            api_key=_NO_KEY,
            base_url=settings.base_url,
            max_retries=0,
            default_headers=self._headers(),
            http_client=self._pool.client,
        )
        if not self._of_openai:  # the environment's belong to OpenAI
            self._client.organization = self._client.project = None

    async def _open(self, call: Call, entry: ModelEntry, request: ChatRequest, room: int) -> None:
        refused = self._refused.setdefault(entry.name, set())
        while True:
            without = frozenset(refused)  # others may learn of more while this one is on its way
            values = parameters(entry, request, room, openai=self._of_openai, refused=without)
            try:
                return await call.open(self._create(values))
            except _ParameterRefused as refusal:
                if refusal.name in without:
                    raise
                log.info("%s does not take %s: left out from now on", entry.name, refusal.name)
                refused.add(refusal.name)

    def _answer(self, request: ChatRequest, prompt_tokens: int) -> OpenAIAnswer:
        return OpenAIAnswer(self._settings.name, request, prompt_tokens)

    async def _create(self, values: dict[str, Any]) -> Pieces:
        raw = self._keyed().chat.completions.with_raw_response
        response = await raw.create(**values, extra_headers=self._omitted())
        # As plain JSON: what compatible servers send is not always what the SDK's types say.
        stream: AsyncStream[object] = response.parse(to=AsyncStream[object])
        return stream

    async def _list_models(self) -> None:
        await self._keyed().models.with_raw_response.list(extra_headers=self._omitted())

    def _explained(
        self, error: Exception, entry: ModelEntry, request: ChatRequest, used: str
    ) -> FleetError:
        failure, refusal = super()._explained(error, entry, request, used), self._failed(error)
        name = unsupported(refusal) if refusal is not None else ""
        return _ParameterRefused(failure.message, name) if name else failure

    def _failed(self, error: Exception) -> Refusal | None:
        if isinstance(error, openai.APIStatusError):
            return Refusal.read(error.status_code, error.body, error.response.headers)
        if isinstance(error, openai.APIError) and error.body is not None:  # inside of a stream
            return Refusal.read(200, error.body, {})
        return None

    def _keyed(self) -> AsyncOpenAI:
        self._client.api_key = self._key() or _NO_KEY
        return self._client

    def _omitted(self) -> dict[str, Any]:
        return {"Authorization": Omit()} if self._keyless else {}
