"""Each model's calls go to its provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.chat import ChatChunk, ChatRequest
from orchestrator.domain.errors import InvalidInput, Remedy, Unavailable
from orchestrator.ports.models import LanguageModel


class Providers(LanguageModel):
    """`known` maps the names that catalogue entries give as their provider."""

    def __init__(self, catalogue: Catalogue, known: Mapping[str, LanguageModel]) -> None:
        self._catalogue = catalogue
        self._known = known

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        return self._of(request.model).chat(request)

    async def ready(self, model: str) -> bool:
        return model in self._catalogue and await self._of(model).ready(model)

    def _of(self, model: str) -> LanguageModel:
        entry = self._catalogue.get(model)
        if entry is None:
            names = ", ".join(self._catalogue) or "empty"
            raise InvalidInput(
                f"model {model[:80]!r} is not in the catalogue, which is: {names}", field="model"
            )
        known = ", ".join(self._known)
        absent = f"its provider {entry.provider!r} is none of those set up here: {known}"
        return self._known.get(entry.provider) or AbsentProvider(absent)


class AbsentProvider(LanguageModel):
    """Stands for a provider that can't be asked as things are set up; `why` says what to do."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        raise Unavailable(
            f"model {request.model} is not available: {self._why}",
            reason="MODEL_UNAVAILABLE",
            remedy=Remedy.TRY_ANOTHER,
        )
        yield

    async def ready(self, model: str) -> bool:  # noqa: ARG002 - the port's
        return False
