"""The way of a request to a provider, whichever protocol it speaks."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Self

import httpx2

from orchestrator.adapters.provider_connection.answer import Answer
from orchestrator.adapters.provider_connection.connection import ProviderConnection
from orchestrator.adapters.provider_connection.discretion import quieten
from orchestrator.adapters.provider_connection.failures import Asked, Failures, Refusal
from orchestrator.adapters.provider_connection.pool import Call, ConnectionPool
from orchestrator.adapters.provider_connection.prompt_size import (
    likely_tokens,
    new_tokens,
    prompt_estimate,
    sent,
)
from orchestrator.adapters.provider_connection.readiness import Readiness
from orchestrator.domain.catalogue import Catalogue, ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest
from orchestrator.domain.errors import FleetError, InvalidInput
from orchestrator.domain.runs import Usage
from orchestrator.ports.models import LanguageModel


class ProviderModels(LanguageModel):
    """An async context manager: it holds the provider's connections while it is open."""

    errors: type[Exception]
    """The root of the SDK's errors."""

    def __init__(
        self,
        settings: ProviderConnection,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        quieten()
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock
        self._failures = Failures(settings.name, self._secrets, wall_clock)
        self._readiness = Readiness(self._probe)
        self._pool = ConnectionPool(settings, self.errors)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.__aexit__()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        entry = self._entry(request.model)
        estimate = prompt_estimate(request)
        room = new_tokens(entry, request, estimate)
        key = self._key()
        began = first = self._clock()

        def explained(error: Exception) -> FleetError:
            return self._explained(error, entry, request, key)

        async with self._pool.call(entry.name, explained) as call:
            answer = self._answer(request, estimate)
            try:
                await self._open(call, entry, request, room)
            except FleetError:
                request.meter.usage = Usage()  # nobody pays for what was refused
                raise
            async with aclosing(call.pieces()) as pieces:
                async for piece in pieces:
                    for chunk in answer.feed(piece):
                        first = self._clock() if first == began else first
                        yield chunk
        for called in answer.close():
            yield called
        ended = self._clock()
        yield ChatFinished(
            reason=answer.reason,
            usage=answer.usage,
            ttft_ms=((ended if first == began else first) - began) * 1000,
            inference_ms=(ended - began) * 1000,
            confidence=answer.confidence,
        )

    async def ready(self, model: str) -> bool:
        key = self._settings.key
        if model not in self._catalogue or (key is not None and key.missing):
            return False
        return self._pool.full or await self._readiness.now()

    @abstractmethod
    async def _open(self, call: Call, entry: ModelEntry, request: ChatRequest, room: int) -> None:
        """Opens the stream of the answer, of at most `room` tokens."""

    @abstractmethod
    def _answer(self, request: ChatRequest, prompt_tokens: int) -> Answer: ...

    @abstractmethod
    def _failed(self, error: Exception) -> Refusal | None:
        """What the server answered; None where it did not."""

    @abstractmethod
    async def _list_models(self) -> None:
        """The cheapest request that shows whether the server answers. Raises the SDK's errors."""

    def _entry(self, model: str) -> ModelEntry:
        entry = self._catalogue.get(model)
        if entry is None:
            names = ", ".join(self._catalogue) or "empty"
            raise InvalidInput(
                f"model {model[:80]!r} is not in the catalogue, which is: {names}", field="model"
            )
        return entry

    def _explained(
        self, error: Exception, entry: ModelEntry, request: ChatRequest, used: str
    ) -> FleetError:
        refusal = self._failed(error)
        if refusal is None:
            return self._failures.broken(entry.name, _broken(error))
        asked = Asked(entry, tuple(sent(request)), likely_tokens(request))
        failure = self._failures.refused(refusal, asked)
        key = self._settings.key
        if refusal.effective_status == 401 and key is not None and key.renewed(used):
            failure = self._failures.broken(entry.name, "refused a key that has changed meanwhile")
        return failure

    async def _probe(self) -> bool:
        used = self._key()
        try:
            await self._list_models()
        except (self.errors, httpx2.HTTPError, OSError, ValueError) as error:
            refusal = self._failed(error)
            if refusal is None:
                return False
            key = self._settings.key
            if refusal.status == 401 and key is not None and key.renewed(used):
                return True
            return refusal.status not in (401, 403) and refusal.status < 500
        return True

    def _key(self) -> str:
        key = self._settings.key
        return key.value(self._settings.name) if key is not None else ""

    @property
    def _keyless(self) -> bool:
        own = {name.lower() for name in self._settings.headers}
        return self._settings.key is None and "authorization" not in own

    def _headers(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self._settings.headers.items()}

    def _secrets(self) -> Sequence[str]:
        key = self._settings.key
        keys = (self._key(),) if key is not None and not key.missing else ()
        return (*keys, *self._headers().values())


def _broken(error: Exception) -> str:
    """SDKs wrap what the HTTP client raised."""
    causes = (error, error.__cause__, error.__context__)
    if any(isinstance(cause, httpx2.ConnectTimeout) for cause in causes):
        return "did not accept a connection in time"
    if any(isinstance(cause, httpx2.ConnectError) for cause in causes):
        return "can't be reached"
    if any(isinstance(cause, httpx2.TimeoutException) for cause in causes):
        return "did not answer in time"
    if any(isinstance(cause, httpx2.RequestError | OSError | EOFError) for cause in causes):
        return "broke the connection off"
    return "sent what can't be read"
