"""The models themselves: routed, batched, without state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from orchestrator.api import limits
from orchestrator.api.agents import check_policy, check_sampling
from orchestrator.api.conversation import check_messages
from orchestrator.api.paid import PaidModels
from orchestrator.api.streams import closing
from orchestrator.domain.agents import ModelPolicy, Sampling
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, MalformedToolCall
from orchestrator.domain.errors import Conflict
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.routing import Classification, Demand, decide
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.ports.tools import ToolRegistry

BYTES_PER_TOKEN = 4
"""A rule of thumb for English text, for estimates only."""
ESTIMATED_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Generate:
    model: str
    system_prompt: str
    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    entry: ModelEntry
    ready: bool


class Inference:
    def __init__(
        self,
        *,
        catalogue: Catalogue,
        language: LanguageModel,
        classifier: RequestClassifier,
        embedder: Embedder,
        tools: ToolRegistry,
        ledger: Ledger,
    ) -> None:
        self._catalogue = catalogue
        self._language = language
        self._classifier = classifier
        self._embedder = embedder
        self._tools = tools
        self._paid = PaidModels(language, ledger)

    async def models(self) -> tuple[ModelStatus, ...]:
        entries = tuple(self._catalogue.values())
        ready = await asyncio.gather(*(self._language.ready(entry.name) for entry in entries))
        return tuple(ModelStatus(*pair) for pair in zip(entries, ready, strict=True))

    async def route(self, texts: Sequence[str], policy: ModelPolicy) -> tuple[RouteDecided, ...]:
        limits.texts(texts)
        check_policy(policy, "policy", self._catalogue)
        classifications, models = await asyncio.gather(
            self._classifier.classify(texts), self.models()
        )
        unready = {model.entry.name for model in models if not model.ready}
        return tuple(
            decide(
                Demand(
                    capabilities={Capability.CHAT},
                    prompt_tokens=-(-len(text.encode()) // BYTES_PER_TOKEN),
                    new_tokens=ESTIMATED_NEW_TOKENS,
                ),
                classification,
                catalogue=self._catalogue,
                policy=policy,
                unready=unready,
            )
            for text, classification in zip(texts, classifications, strict=True)
        )

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        limits.texts(texts)
        return await self._embedder.embed(texts)

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        limits.texts(texts)
        return await self._classifier.classify(texts)

    async def generate(self, request: Generate, *, tenant: str) -> AsyncGenerator[ChatChunk]:
        """Streams a model's answer; `ChatFinished.usage` has its cost. Closing stops the engine.

        Raises:
            Conflict: MALFORMED_TOOL_CALL, the model wrote a call that can't be read.
            Exhausted: BUDGET, the tenant has spent it, or reserved the rest.
        """
        entry = self._check(request)
        try:
            asked = self._chat_request(request, tenant)
            async with closing(self._paid.chat(entry, asked)) as chunks:
                async for chunk in chunks:
                    yield _priced(chunk, entry)
        except MalformedToolCall as error:
            raise Conflict(
                f"model {entry.name} wrote a tool call that can't be read: {error.detail[:200]}",
                reason="MALFORMED_TOOL_CALL",
            ) from error

    def _chat_request(self, request: Generate, tenant: str) -> ChatRequest:
        messages = request.messages
        if request.system_prompt:
            messages = (Message(role=Role.SYSTEM, content=request.system_prompt), *messages)
        return ChatRequest(
            model=request.model,
            messages=messages,
            tools=tuple(spec.schema for spec in self._tools.select(request.tools)),
            sampling=request.sampling,
            tenant=tenant,
        )

    def _check(self, request: Generate) -> ModelEntry:
        limits.text(request.model, "model", max_bytes=limits.NAME_BYTES, required=True)
        limits.known_name(request.model, "model", known=self._catalogue, what="model")
        limits.text(request.system_prompt, "system_prompt", max_bytes=limits.SYSTEM_PROMPT_BYTES)
        limits.names(request.tools, "tools", known=self._tools.specs(), what="tool")
        check_sampling(request.sampling, "sampling")
        check_messages(request.messages)
        return self._catalogue[request.model]


def _priced(chunk: ChatChunk, entry: ModelEntry) -> ChatChunk:
    if not isinstance(chunk, ChatFinished):
        return chunk
    usage = chunk.usage.model_copy(update={"cost_micros": entry.cost_micros(chunk.usage)})
    return replace(chunk, usage=usage)
