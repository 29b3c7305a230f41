"""Added models and the running Triton: into it, out of it, and a first question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from orchestrator.added_models.source import Say
from orchestrator.added_models.store import ModelStore
from orchestrator.domain.agents import Sampling
from orchestrator.domain.catalogue import Capability, ModelEntry
from orchestrator.domain.chat import ChatRequest, MalformedToolCall, TextChunk, ToolSchema
from orchestrator.domain.errors import FleetError, NotFound, Unavailable
from orchestrator.domain.messages import Message, Role
from orchestrator.ports.model_control import ModelControl
from orchestrator.ports.models import LanguageModel

QUESTION = "Hello, who are you?"
_ANSWER_TOKENS = 24
_ANSWER_S = 120.0
_TOOL = ToolSchema(
    name="calculator",
    description="Works out an expression.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
)


@dataclass(frozen=True, slots=True)
class ModelDesk:
    store: ModelStore
    control: ModelControl
    language: LanguageModel
    say: Say

    async def bring_up(self, entry: ModelEntry) -> str:
        """Loads a placed model, asks it and puts it into the catalogue; returns its answer.

        When anything of that fails, or is interrupted, the model is gone again.

        Raises:
            FleetError: it does not load or does not answer.
        """
        name = entry.name
        try:
            self.say("loading it into Triton")
            await self.control.load(entry.served_as)
            self.say(f"asking it: {QUESTION}")
            answer = await self._ask(entry)
        except BaseException:
            with suppress(FleetError):
                await self.control.unload(entry.served_as)
            self.store.delete(name)
            raise
        self.store.remember(name, unloaded=False)
        self.store.publish(entry)
        return answer

    async def reload(self, entry: ModelEntry, undo: Callable[[], None]) -> str:
        """Loads a model whose files have changed, and asks it; returns its answer.

        When anything of that fails, or is interrupted, `undo` brings the old files back and they
        are loaded again.

        Raises:
            FleetError: it does not load or does not answer.
        """
        try:
            self.say("loading it into Triton")
            await self.control.load(entry.served_as)
            self.say(f"asking it: {QUESTION}")
            return await self._ask(entry)
        except BaseException:
            undo()
            self.say("it failed: loading what was there before")
            with suppress(FleetError):
                await self.control.load(entry.served_as)
            raise

    async def load(self, name: str) -> None:
        """Loads it, also when it is loaded, and keeps it so over restarts.

        Raises:
            FleetError: it does not load.
        """
        await self._known(name)
        await self.control.load(name)
        self.store.remember(name, unloaded=False)

    async def unload(self, name: str) -> None:
        """Lets what runs in it end, and keeps it unloaded over restarts."""
        await self._known(name)
        self.store.remember(name, unloaded=True)  # nobody sends it anything new from here on
        await self.control.unload(name)

    async def remove(self, name: str) -> None:
        """Out of the catalogue, out of Triton, off the disk."""
        self.store.withdraw(name)
        with suppress(Unavailable):  # a Triton that is away holds nothing
            if await self._is_served(name):
                await self.control.unload(name)
        self.store.delete(name)

    async def _known(self, name: str) -> None:
        if not await self._is_served(name):
            raise NotFound(f"Triton has no model {name!r} in its repositories")

    async def _is_served(self, name: str) -> bool:
        return any(row.model == name for row in await self.control.served())

    async def _ask(self, entry: ModelEntry) -> str:
        async with asyncio.timeout(_ANSWER_S):
            answer = await self._answer(entry, QUESTION, tools=(), tokens=_ANSWER_TOKENS)
            if Capability.TOOLS in entry.capabilities:  # its template has to take tools too
                await self._answer(entry, "What is 6 * 7?", tools=(_TOOL,), tokens=1)
        return answer

    async def _answer(
        self, entry: ModelEntry, question: str, *, tools: tuple[ToolSchema, ...], tokens: int
    ) -> str:
        request = ChatRequest(
            model=entry.name,
            messages=(Message(role=Role.USER, content=question),),
            tools=tools,
            sampling=Sampling(max_tokens=tokens),
        )
        text: list[str] = []
        with suppress(MalformedToolCall):  # cut off after a few tokens
            async with aclosing(self.language.chat(request)) as chunks:
                async for chunk in chunks:
                    match chunk:
                        case TextChunk():
                            text.append(chunk.text)
        return "".join(text)
