"""The models themselves: routed, batched, without state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.api import limits
from orchestrator.api.agents import check_policy, check_sampling
from orchestrator.api.conversation import check_messages
from orchestrator.api.fitting import fitting
from orchestrator.api.output_schemas import check_output_schema
from orchestrator.api.paid import PaidModels
from orchestrator.api.streams import closing
from orchestrator.domain.agents import ModelPolicy, Sampling
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, MalformedToolCall
from orchestrator.domain.errors import Conflict, InvalidInput, Unavailable
from orchestrator.domain.events import AnswerCached, RouteDecided
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.output_schema import OutputShape
from orchestrator.domain.routing import NEW_TOKENS, Classification, Demand, tokens_of
from orchestrator.execution.outputs import asked_for
from orchestrator.model_calls.router import NOTHING_KNOWN, LiveModels, Router
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.ports.tools import ToolRegistry


@dataclass(frozen=True, slots=True)
class Generate:
    """An empty `model` leaves the choice to the router, under `policy`. With
    `output_schema_json`, a JSON Schema, the answer is JSON that fits it, and comes as a whole.
    """

    model: str
    system_prompt: str
    messages: tuple[Message, ...]
    tools: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    policy: ModelPolicy = ModelPolicy()
    output_schema_json: str = ""


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
        live: LiveModels = NOTHING_KNOWN,
    ) -> None:
        self._router = Router(classifier, catalogue, live)
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
        unready = {m.entry.name: "not ready" for m in await self.models() if not m.ready}
        demands = [
            Demand(
                capabilities={Capability.CHAT},
                prompt_tokens=tokens_of(len(text)),
                new_tokens=NEW_TOKENS,
            )
            for text in texts
        ]
        return await self._router.route(texts, demands, policy, away=unready)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        limits.texts(texts)
        return await self._embedder.embed(texts)

    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        limits.texts(texts)
        return await self._classifier.classify(texts)

    async def generate(
        self, request: Generate, *, tenant: str
    ) -> AsyncGenerator[ChatChunk | RouteDecided | AnswerCached]:
        """Streams a model's answer; `ChatFinished.usage` has its cost. Closing stops the engine.

        One that was given before, which only a tenant's can be, has `AnswerCached` at its end.

        A model that the router picked and that fails before it said anything gives way to the
        next; there is a `RouteDecided` for each.

        Raises:
            Conflict: MALFORMED_TOOL_CALL, the model wrote a call that can't be read;
                INVALID_OUTPUT, its answer does not fit the schema. Both are charged.
            Exhausted: BUDGET, the tenant has spent it, or reserved the rest.
        """
        self._check(request)
        if request.output_schema_json:  # off the loop, as with an agent's
            field = "output_schema_json"
            await asyncio.to_thread(check_output_schema, request.output_schema_json, field)
        if request.model:
            async with closing(self._asked(request, tenant)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        failed: dict[str, str] = {}
        while True:
            decided = await self._pick(request, failed)
            yield decided
            said = False
            try:
                picked = replace(request, model=decided.model)
                async with closing(self._asked(picked, tenant)) as chunks:
                    async for chunk in chunks:
                        said = True
                        yield chunk
            except Unavailable as error:
                if said or not error.another_may_answer:
                    raise
                failed[decided.model] = "failed just now"
            else:
                return

    async def _asked(
        self, request: Generate, tenant: str
    ) -> AsyncGenerator[ChatChunk | AnswerCached]:
        entry = self._catalogue[request.model]
        asked = self._chat_request(request, entry, tenant)
        answer = self._paid.chat(entry, asked)
        if asked.output is not None:
            answer = fitting(answer, asked.output.schema, entry.name)
        try:
            async with closing(answer) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, ChatFinished) and chunk.cached is not None:
                        yield chunk.cached
                    yield _priced(chunk, entry)
        except MalformedToolCall as error:
            raise Conflict(
                f"model {entry.name} wrote a tool call that can't be read: {error.detail[:200]}",
                reason="MALFORMED_TOOL_CALL",
            ) from error

    async def _pick(self, request: Generate, failed: Mapping[str, str]) -> RouteDecided:
        """There is no cascade: the answer is streamed as it comes."""
        asked = [m.content for m in request.messages if m.role is Role.USER and m.content.strip()]
        if not asked:
            raise InvalidInput(
                "messages has no text of a user to route by: name a model", field="model"
            )
        needs = {Capability.CHAT} | ({Capability.TOOLS} if request.tools else set())
        size = len(request.system_prompt) + len(request.output_schema_json)
        size += sum(len(m.content) for m in request.messages)
        demand = Demand(needs, tokens_of(size), request.sampling.max_tokens or NEW_TOKENS)
        policy = request.policy.model_copy(update={"cascade": False})
        (decided,) = await self._router.route([asked[-1]], [demand], policy, away=failed)
        return decided

    def _chat_request(self, request: Generate, entry: ModelEntry, tenant: str) -> ChatRequest:
        messages, schema = request.messages, request.output_schema_json
        asked = asked_for(schema, entry) if schema else ""
        if prompt := "\n\n".join(filter(None, (request.system_prompt, asked))):
            messages = (Message(role=Role.SYSTEM, content=prompt), *messages)
        return ChatRequest(
            model=request.model,
            messages=messages,
            tools=tuple(spec.schema for spec in self._tools.select(request.tools)),
            sampling=request.sampling,
            output=OutputShape(json.loads(schema)) if schema else None,
            tenant=tenant,
        )

    def _check(self, request: Generate) -> None:
        limits.text(request.model, "model", max_bytes=limits.NAME_BYTES)
        if request.model:
            limits.known_name(request.model, "model", known=self._catalogue, what="model")
        check_policy(request.policy, "policy", self._catalogue)
        limits.text(request.system_prompt, "system_prompt", max_bytes=limits.SYSTEM_PROMPT_BYTES)
        limits.names(request.tools, "tools", known=self._tools.specs(), what="tool")
        check_sampling(request.sampling, "sampling")
        check_messages(request.messages)
        if request.tools and request.output_schema_json:
            raise InvalidInput(
                "tools can't be offered with output_schema_json, which makes the whole answer "
                "JSON: leave one of them out, or start a run, which does both",
                field="tools",
            )


def _priced(chunk: ChatChunk, entry: ModelEntry) -> ChatChunk:
    if not isinstance(chunk, ChatFinished):
        return chunk
    cost = 0 if chunk.cached else entry.cost_micros(chunk.usage)
    usage = chunk.usage.model_copy(update={"cost_micros": cost})
    return replace(chunk, usage=usage)
