"""Opens the providers of the settings that some model of theirs has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from pydantic import SecretStr

from orchestrator.adapters.provider_connection import ApiKey, ProviderConnection
from orchestrator.domain.catalogue import TRITON, Catalogue
from orchestrator.model_calls.providers import AbsentProvider
from orchestrator.model_settings import Provider
from orchestrator.ports.models import LanguageModel
from orchestrator.settings import Settings
from orchestrator.settings_sections import Secret, SecretError, read_secret


@asynccontextmanager
async def open_providers(
    settings: Settings, catalogue: Catalogue
) -> AsyncIterator[Mapping[str, LanguageModel]]:
    """By name. One whose secrets are missing is there, and says what it misses when it is asked."""
    used = dict.fromkeys(entry.provider for entry in settings.models.values())
    async with AsyncExitStack() as opened:
        found: dict[str, LanguageModel] = {}
        for name in used:
            if name == TRITON:
                continue
            try:
                connection = _connection(name, settings.providers[name])
            except SecretError as missing:
                found[name] = AbsentProvider(str(missing))
            else:
                kind = settings.providers[name].kind
                found[name] = await opened.enter_async_context(_models(kind, connection, catalogue))
        yield found


@asynccontextmanager
async def _models(
    kind: str, connection: ProviderConnection, catalogue: Catalogue
) -> AsyncIterator[LanguageModel]:
    # Only here: the SDKs take long to load, and most stacks need none or one.
    if kind == "anthropic":
        from orchestrator.adapters.anthropic_models import AnthropicModels  # noqa: PLC0415

        async with AnthropicModels(connection, catalogue) as anthropic:
            yield anthropic
    else:
        from orchestrator.adapters.openai_models import OpenAIModels  # noqa: PLC0415

        async with OpenAIModels(connection, catalogue) as openai:
            yield openai


def _connection(name: str, section: Provider) -> ProviderConnection:
    return ProviderConnection(
        name=name,
        base_url=section.base_url,
        key=None if section.key is None else _key(section.key),
        headers={
            header: value
            if isinstance(value, SecretStr)
            else read_secret(value, f"providers.{name}.headers.{header}")
            for header, value in section.headers.items()
        },
        **section.model_dump(exclude={"kind", "base_url", "key", "headers"}),
    )


def _key(secret: Secret) -> ApiKey:
    prefix = secret.prefix.get_secret_value()
    if secret.file is not None:
        return ApiKey.from_file(secret.file, prefix=prefix)
    return ApiKey.from_environment(secret.env, prefix=prefix)
