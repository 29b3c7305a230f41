"""The providers that are opened, and those that can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from orchestrator.domain.chat import ChatChunk, ChatRequest, TextChunk
from orchestrator.domain.errors import Remedy, Unavailable
from orchestrator.domain.messages import Message, Role
from orchestrator.model_calls.guarded import Guarded
from orchestrator.model_calls.metrics import GuardMetrics
from orchestrator.model_calls.providers import Providers
from orchestrator.provider_composition import open_providers
from orchestrator.settings import Settings
from tests.orchestrator.adapters.providers.dialects import OpenAI
from tests.scripted_http import Reply, ScriptedServer

HI = (Message(role=Role.USER, content="hi"),)


def settings_of(provider: str, **section: Any) -> Settings:
    models = {"far": {"provider": provider, "model": "m"}}
    return Settings.model_validate(
        {"providers": {provider: section} if section else {}, "models": models}
    )


async def said(model: Providers | Guarded, name: str) -> str:
    chunks: list[ChatChunk] = [c async for c in model.chat(ChatRequest(model=name, messages=HI))]
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def limited(*, after_s: int) -> Reply:
    headers = {"Retry-After": str(after_s)}
    return Reply([b"{}"], status=429, headers=headers, content_type="application/json")


async def test_only_the_providers_of_the_catalogues_models_are_opened() -> None:
    settings = Settings()
    async with open_providers(settings, settings.models) as found:
        assert not found
    settings = settings_of("ollama")
    async with open_providers(settings, settings.models) as found:
        assert list(found) == ["ollama"]


async def test_a_model_whose_provider_has_no_key_is_not_ready_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for provider, variable in (("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")):
        monkeypatch.delenv(variable, raising=False)
        settings = settings_of(provider)
        async with open_providers(settings, settings.models) as found:
            providers = Providers(settings.models, found)
            assert not await providers.ready("far")
            with pytest.raises(Unavailable, match=variable) as raised:
                await said(providers, "far")
        assert raised.value.remedy is Remedy.TRY_ANOTHER


async def test_a_header_that_is_not_there_to_read_ends_nothing_but_its_provider(
    tmp_path: Path,
) -> None:
    headers = {"x-team": {"file": tmp_path / "nowhere"}}
    settings = settings_of("lab", kind="openai", base_url="http://127.0.0.1:1/v1", headers=headers)
    async with open_providers(settings, settings.models) as found:
        providers = Providers(settings.models, found)
        assert not await providers.ready("far")
        with pytest.raises(Unavailable, match=r"providers\.lab\.headers\.x-team: .*nowhere"):
            await said(providers, "far")


async def test_a_rate_limit_of_a_real_provider_is_sat_out_or_leaves_the_model_alone() -> None:
    hello = Reply(OpenAI().answer("hello"))
    replies = [
        Reply(
            status=429, headers={"Retry-After": "1"}, parts=[b"{}"], content_type="application/json"
        ),
        hello,
        Reply(
            status=429,
            headers={"Retry-After": "60"},
            parts=[b"{}"],
            content_type="application/json",
        ),
    ]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with ScriptedServer(replies) as server:
        settings = settings_of("lab", kind="openai", base_url=f"{server.url}/v1")
        async with open_providers(settings, settings.models) as found:
            providers = Providers(settings.models, found)
            metrics = GuardMetrics(CollectorRegistry())
            guarded = Guarded(providers, settings.models, metrics, sleep=sleep)
            assert await said(guarded, "far") == "hello"
            assert len(slept) == 1
            assert 1.0 <= slept[0] <= 1.2
            with pytest.raises(Unavailable) as raised:
                await said(guarded, "far")
            assert raised.value.reason == "RATE_LIMITED"
            assert guarded.unready() == {"far": "rate limited for 60 s"}
