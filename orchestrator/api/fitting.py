"""Answers of `Generate` that have to be JSON of a schema."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from orchestrator.api.streams import closing
from orchestrator.domain.chat import ChatChunk, ChatFinished, FinishReason, TextChunk
from orchestrator.domain.errors import Conflict
from orchestrator.execution.outputs import BadOutput, read_output


async def fitting(
    chunks: AsyncGenerator[ChatChunk], schema: Mapping[str, Any], model: str
) -> AsyncGenerator[ChatChunk]:
    """Passes the answer's JSON on as a whole, once it is known to fit.

    Raises:
        Conflict: INVALID_OUTPUT, it does not.
    """
    said: list[str] = []
    async with closing(chunks) as answer:
        async for chunk in answer:
            if isinstance(chunk, TextChunk):
                said.append(chunk.text)
                continue
            if isinstance(chunk, ChatFinished):
                yield TextChunk(_read(schema, "".join(said), chunk.reason, model))
            yield chunk


def _read(schema: Mapping[str, Any], text: str, reason: FinishReason, model: str) -> str:
    try:
        return read_output(schema, text)
    except BadOutput as bad:
        cut = "it was cut short by its token limit: " if reason is FinishReason.LENGTH else ""
        raise Conflict(
            f"the answer of {model} can't be used: {cut}{bad}", reason="INVALID_OUTPUT"
        ) from None
