from __future__ import annotations

from orchestrator.api.inference import Generate, Inference
from orchestrator.domain.chat import TextChunk
from orchestrator.domain.messages import Message, Role
from orchestrator.ports.tools import ToolRegistry
from tests.orchestrator.rpc.given import (
    CATALOGUE,
    HardWhenLong,
    LengthEmbedder,
    OneTool,
    ScriptedLanguage,
)


async def test_a_generation_that_is_left_between_two_chunks_stops_the_engine_at_once() -> None:
    language = ScriptedLanguage()
    inference = Inference(
        catalogue=CATALOGUE,
        language=language,
        classifier=HardWhenLong(),
        embedder=LengthEmbedder(),
        tools=ToolRegistry([OneTool()]),
    )
    question = (Message(role=Role.USER, content="hi"),)
    chunks = inference.generate(Generate("llm_small", "", question))
    assert await anext(chunks) == TextChunk("Hel")
    assert not language.closed.is_set()
    await chunks.aclose()
    assert language.closed.is_set()
