"""Requests whose last message tells the small models what to do."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

from orchestrator.domain.agents import Sampling
from orchestrator.domain.allowance import UNLIMITED, Allowance
from orchestrator.domain.catalogue import (
    Capability,
    ModelEntry,
    StructuredFormat,
    ToolCallFormat,
)
from orchestrator.domain.chat import ChatChunk, ChatRequest, TextChunk, ToolSchema
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.output_schema import OutputShape
from orchestrator.ports.models import LanguageModel

CATALOGUE = {
    "echo": ModelEntry(name="echo", model="echo_llm", context_tokens=100, max_new_tokens=64),
    "echo_llama": ModelEntry(
        name="echo_llama", model="echo_llm", tool_format=ToolCallFormat.LLAMA3_JSON
    ),
    "echo_mistral": ModelEntry(
        name="echo_mistral", model="echo_llm", tool_format=ToolCallFormat.MISTRAL
    ),
    "hinted": ModelEntry(name="hinted", model="hinted_llm", context_tokens=100, max_new_tokens=64),
    "absent": ModelEntry(name="absent", model="absent_llm"),
}
for form in StructuredFormat:
    CATALOGUE[form] = CATALOGUE["echo"].model_copy(
        update={
            "name": form.value,
            "capabilities": frozenset({Capability.CHAT, Capability.STRUCTURED}),
            "structured_format": form,
        }
    )


def planned(
    *pieces: str | bytes,
    model: str = "echo",
    before: tuple[Message, ...] = (),
    tools: tuple[ToolSchema, ...] = (),
    sampling: Sampling | None = None,
    allowance: Allowance = UNLIMITED,
    output: OutputShape | None = None,
    confidence: bool = False,
    **plan: Any,
) -> ChatRequest:
    raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    plan["pieces"] = [base64.b64encode(piece).decode() for piece in raw]
    message = Message(role=Role.USER, content=json.dumps(plan))
    return ChatRequest(
        model=model,
        messages=(*before, message),
        tools=tools,
        sampling=sampling or Sampling(),
        allowance=allowance,
        output=output,
        confidence=confidence,
    )


async def answer(model: LanguageModel, request: ChatRequest) -> list[ChatChunk]:
    async with aclosing(model.chat(request)) as chunks:
        return [chunk async for chunk in chunks]


async def is_written(path: Path) -> None:
    """Waits until another process has written the file."""
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(_has_text, path):  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.01)


def _has_text(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def text_of(chunks: list[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
