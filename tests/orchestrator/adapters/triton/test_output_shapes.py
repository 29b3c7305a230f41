"""What a model that Triton serves is told of the shape its answer has to have."""

import json
from typing import Any

import pytest

from orchestrator.adapters.triton import TritonLanguageModel
from orchestrator.domain.agents import Sampling
from orchestrator.domain.chat import TextChunk
from orchestrator.domain.output_schema import OutputShape
from tests.orchestrator.adapters.triton.plans import answer, planned, text_of

SHAPE = OutputShape({"type": "array", "items": {"type": "number", "minimum": 0}})
TOLD = {"type": "array", "items": {"type": "number"}}


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("structured_outputs", {"json": TOLD, "disable_any_whitespace": True}),
        ("guided_decoding", {"json": TOLD, "disable_any_whitespace": True}),
        ("guided_json", TOLD),
    ],
)
async def test_an_engine_is_held_to_the_schema_in_the_form_that_it_takes(
    language_model: TritonLanguageModel, model: str, told: dict[str, Any]
) -> None:
    request = planned(
        model=model,
        output=SHAPE,
        sampling=Sampling(stop=('"',)),
        show_sampling=True,
        finish="stop",
    )
    sampling = json.loads(text_of(await answer(language_model, request)))
    assert sampling[model] == told
    assert "stop" not in sampling


async def test_an_engine_that_cannot_be_held_is_not_asked_to(
    language_model: TritonLanguageModel,
) -> None:
    stop = Sampling(stop=('"',))
    request = planned(output=SHAPE, sampling=stop, show_sampling=True, finish="stop")
    sampling = json.loads(text_of(await answer(language_model, request)))
    assert sampling == {"temperature": 0.0, "max_tokens": 64}


async def test_a_brief_answer_is_bounded_by_the_tokens_that_it_may_have(
    language_model: TritonLanguageModel,
) -> None:
    shape = OutputShape({"type": "string"}, brief=True)
    request = planned(model="guided_json", output=shape, show_sampling=True, finish="stop")
    sampling = json.loads(text_of(await answer(language_model, request)))
    assert sampling["guided_json"] == {"type": "string", "maxLength": 8}


async def test_what_looks_like_a_tool_call_is_text_where_the_text_has_to_be_json(
    language_model: TritonLanguageModel,
) -> None:
    request = planned('["<tool_call>', '"]', output=SHAPE, finish="stop")
    chunks = await answer(language_model, request)
    assert [c.text for c in chunks if isinstance(c, TextChunk)] == ['["<tool_call>', '"]']
