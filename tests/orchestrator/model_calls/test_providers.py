"""Whose a model's calls are."""

from __future__ import annotations

import pytest

from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest, TextChunk
from orchestrator.domain.errors import InvalidInput, Remedy, Unavailable
from orchestrator.domain.messages import Message, Role
from orchestrator.model_calls.providers import AbsentProvider, Providers

CATALOGUE = {
    "near": ModelEntry(name="near"),
    "far": ModelEntry(name="far", provider="cloud"),
    "lost": ModelEntry(name="lost", provider="nobody"),
}


def request(model: str) -> ChatRequest:
    return ChatRequest(model=model, messages=(Message(role=Role.USER, content="hi"),))


async def said(providers: Providers, model: str) -> str:
    chunks = [chunk async for chunk in providers.chat(request(model))]
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def saying(text: str) -> ScriptedLanguageModel:
    return ScriptedLanguageModel(lambda _: [text])


async def test_each_model_is_asked_at_its_provider() -> None:
    providers = Providers(CATALOGUE, {"triton": saying("here"), "cloud": saying("there")})
    assert await said(providers, "near") == "here"
    assert await said(providers, "far") == "there"


async def test_a_model_that_is_in_no_catalogue_is_named_with_those_that_are() -> None:
    providers = Providers(CATALOGUE, {"triton": saying("here")})
    with pytest.raises(InvalidInput, match="'gone' is not in the catalogue, which is: near, far"):
        await said(providers, "gone")
    assert not await providers.ready("gone")


async def test_a_provider_that_is_not_set_up_is_no_defect_but_away() -> None:
    providers = Providers(CATALOGUE, {"triton": saying("here")})
    with pytest.raises(Unavailable, match=r"provider 'nobody' is none of .*: triton") as raised:
        await said(providers, "lost")
    assert raised.value.remedy is Remedy.TRY_ANOTHER
    assert not await providers.ready("lost")


async def test_a_provider_without_its_key_says_where_the_key_belongs() -> None:
    absent = AbsentProvider("OPENAI_API_KEY is not set")
    providers = Providers(CATALOGUE, {"cloud": absent})
    with pytest.raises(Unavailable, match="far is not available: OPENAI_API_KEY is not set"):
        await said(providers, "far")
    assert not await providers.ready("far")
