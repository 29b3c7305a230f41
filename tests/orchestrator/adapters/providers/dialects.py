"""What servers that speak OpenAI's or Anthropic's API write, for the scripted server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from orchestrator.adapters.anthropic_models import AnthropicModels
from orchestrator.adapters.openai_models import OpenAIModels
from orchestrator.adapters.provider_connection import ApiKey, ProviderConnection
from orchestrator.adapters.provider_connection.language_model import ProviderModels
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    TextChunk,
    ToolCallChunk,
    ToolSchema,
)
from orchestrator.domain.messages import Message, Role
from orchestrator.ports.models import LanguageModel
from tests.scripted_http import Reply, ScriptedServer, event, failing

KEY = "sk-test-0123456789abcdefghijklmnop"
MODEL = ModelEntry(
    name="clever",
    provider="far",
    model="clever-2026",
    capabilities=frozenset({Capability.CHAT, Capability.TOOLS, Capability.STRUCTURED}),
    context_tokens=8000,
    max_new_tokens=256,
)
CALCULATOR = ToolSchema(
    name="calculator",
    description="Evaluates an arithmetic expression.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
)
ASKED = ChatRequest("clever", (Message(role=Role.USER, content="Why is the sky blue?"),))


@dataclass(frozen=True)
class Call:
    name: str
    arguments: Sequence[str]  # as they come


class Dialect(ABC):
    name: str
    path: str
    suffix = ""  # of the base URL
    finish: ClassVar[Mapping[str, str]]

    @abstractmethod
    def models(self, settings: ProviderConnection, catalogue: Catalogue) -> ProviderModels: ...

    @abstractmethod
    def answer(
        self,
        *texts: str,
        calls: Sequence[Call] = (),
        finish: str = "stop",
        usage: tuple[int, int, int] | None = (11, 7, 4),
    ) -> list[bytes]:
        """The events of an answer; `usage`: prompt, of it cached, completion."""

    @abstractmethod
    def refusal(self, kind: str, message: str, **more: object) -> dict[str, Any]: ...

    @abstractmethod
    def failing_inside(self, kind: str, message: str) -> bytes: ...

    def connected(self, server: ScriptedServer, **settings: Any) -> ProviderModels:
        connection = ProviderConnection(
            name="far", base_url=server.url + self.suffix, key=ApiKey("the test", lambda: KEY)
        )
        return self.models(replace(connection, **settings), {"clever": MODEL})

    def reply(self, *texts: str, **more: Any) -> Reply:
        return Reply(self.answer(*texts, **more))

    def refusing(
        self,
        status: int,
        kind: str,
        message: str = "no",
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> Reply:
        return failing(status, self.refusal(kind, message, **more), headers)


class OpenAI(Dialect):
    name = "openai"
    path = "/v1/chat/completions"
    suffix = "/v1"
    finish: ClassVar[Mapping[str, str]] = {
        "stop": "stop",
        "length": "length",
        "tools": "tool_calls",
        "filter": "content_filter",
    }

    def models(self, settings: ProviderConnection, catalogue: Catalogue) -> ProviderModels:
        return OpenAIModels(settings, catalogue)

    def answer(
        self,
        *texts: str,
        calls: Sequence[Call] = (),
        finish: str = "stop",
        usage: tuple[int, int, int] | None = (11, 7, 4),
    ) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": text} for text in texts]
        for index, call in enumerate(calls):
            begun = {"id": f"id_{index}", "type": "function"}
            first = {"name": call.name, "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, **begun, "function": first}]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
                for part in call.arguments
            ]
        events = [self.chunk({"delta": delta}) for delta in deltas]
        events += (
            [self.chunk({"delta": {}, "finish_reason": self.finish[finish]})] if finish else []
        )
        if usage:
            prompt, cached, completion = usage
            told = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
            }
            events.append(event({**self.frame, "choices": [], "usage": told}))
        return [*events, event("[DONE]")]

    frame: ClassVar[Mapping[str, Any]] = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "clever-2026",
    }

    def chunk(self, choice: Mapping[str, Any]) -> bytes:
        return event({**self.frame, "choices": [{"index": 0, "finish_reason": None, **choice}]})

    def refusal(self, kind: str, message: str, **more: object) -> dict[str, Any]:
        return {"error": {"message": message, "type": kind, "param": None, "code": None, **more}}

    def failing_inside(self, kind: str, message: str) -> bytes:
        return event(self.refusal(kind, message))


class Anthropic(Dialect):
    name = "anthropic"
    path = "/v1/messages"
    finish: ClassVar[Mapping[str, str]] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tools": "tool_use",
        "filter": "refusal",
    }

    def models(self, settings: ProviderConnection, catalogue: Catalogue) -> ProviderModels:
        return AnthropicModels(settings, catalogue)

    def answer(
        self,
        *texts: str,
        calls: Sequence[Call] = (),
        finish: str = "stop",
        usage: tuple[int, int, int] | None = (11, 7, 4),
    ) -> list[bytes]:
        prompt, cached, completion = usage or (0, 0, 0)
        begun = {
            "input_tokens": prompt - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        message = {"id": "m", "type": "message", "role": "assistant", "content": []}
        events = [_named("message_start", message={**message, "usage": begun if usage else {}})]
        events.append(_named("ping"))
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        if texts:
            shown = [{"type": "text_delta", "text": text} for text in texts]
            blocks.append(({"type": "text", "text": ""}, shown))
        for number, call in enumerate(calls):
            parts = [{"type": "input_json_delta", "partial_json": part} for part in call.arguments]
            start = {"type": "tool_use", "id": f"toolu_{number}", "name": call.name, "input": {}}
            blocks.append((start, parts))
        for index, (start, deltas) in enumerate(blocks):
            events.append(_named("content_block_start", index=index, content_block=start))
            events += [_named("content_block_delta", index=index, delta=delta) for delta in deltas]
            events.append(_named("content_block_stop", index=index))
        if finish:
            told = {"usage": {"output_tokens": completion}} if usage else {}
            reason = {"stop_reason": self.finish[finish], "stop_sequence": None}
            events.append(_named("message_delta", delta=reason, **told))
            events.append(_named("message_stop"))
        return events

    def refusal(self, kind: str, message: str, **more: object) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": message, **more}}

    def failing_inside(self, kind: str, message: str) -> bytes:
        return event(self.refusal(kind, message), "error")


def _named(name: str, **members: Any) -> bytes:
    return event({"type": name, **members}, name)


OPENAI = OpenAI()
ANTHROPIC = Anthropic()
DIALECTS: tuple[Dialect, ...] = (OPENAI, ANTHROPIC)


@dataclass(frozen=True)
class Answered:
    text: str
    calls: tuple[tuple[str, str], ...]
    finished: ChatFinished


async def ask(models: LanguageModel, request: ChatRequest = ASKED) -> Answered:
    chunks: list[ChatChunk] = [chunk async for chunk in models.chat(request)]
    finished = chunks[-1]
    assert isinstance(finished, ChatFinished)
    calls = [chunk.call for chunk in chunks if isinstance(chunk, ToolCallChunk)]
    return Answered(
        text="".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)),
        calls=tuple((call.name, call.arguments_json) for call in calls),
        finished=finished,
    )
