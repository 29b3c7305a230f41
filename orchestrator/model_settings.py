"""Settings of who serves models besides Triton, and of calls that fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator

from orchestrator.domain.catalogue import TRITON
from orchestrator.settings_sections import Secret, Section

ProviderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]

_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "openai": {
        "kind": "openai",
        "base_url": "https://api.openai.com/v1",
        "key": {"env": "OPENAI_API_KEY"},
    },
    "anthropic": {
        "kind": "anthropic",
        "base_url": "https://api.anthropic.com",
        "key": {"env": "ANTHROPIC_API_KEY"},
    },
    "ollama": {"kind": "openai", "base_url": "http://127.0.0.1:11434/v1"},
}


class Provider(Section):
    """Models behind OpenAI's or Anthropic's API. Without `key` none is sent.

    Each process holds at most `max_connections`; a request waits for a free one up to
    `first_byte_s`, and again as long for the first piece. `between_chunks_s` bounds silence after
    that, `whole_s` an answer. `headers` go with every request.
    """

    kind: Literal["openai", "anthropic"]
    base_url: str
    key: Secret | None = None
    max_connections: int = Field(default=100, ge=1, le=10_000)
    connect_s: float = Field(default=5.0, gt=0)
    first_byte_s: float = Field(default=60.0, gt=0)
    between_chunks_s: float = Field(default=30.0, gt=0)
    whole_s: float = Field(default=600.0, gt=0)
    http2: bool = False
    headers: Mapping[str, SecretStr | Secret] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://host/… or https://host/…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user or a password; put the secret in key or headers")
        return url


class Retries(Section):
    """Tries of one call of a model in all, while nothing was streamed, and what is between them.

    A wait that a provider asks for is sat out up to `wait_s`; for longer the model is left alone.
    After `breaker_failures` in a row a model rests for `breaker_rest_s`, then one call probes.
    """

    max_attempts: int = Field(default=3, ge=1, le=10)
    base_s: float = Field(default=0.2, gt=0, le=60)
    cap_s: float = Field(default=2.0, gt=0, le=300)
    wait_s: float = Field(default=2.0, ge=0, le=60)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_rest_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)


class Routing(Section):
    """After `hedge_after_s` without a first piece of its answer, a request is sent a second
    time, and the first to answer counts; 0: never.
    """

    hedge_after_s: float = Field(default=0.0, ge=0)


class SemanticCache(Section):
    """Answers to questions that mean the same; see docs/cache.md."""

    enabled: bool = False
    threshold: float = Field(default=0.9, ge=0.5, le=1.0)
    candidates: int = Field(default=256, ge=1, le=1_000)


class Cache(Section):
    """Of answers that can be no others. The bounds are each tenant's. Another `generation`,
    whatever it says, finds nothing of what is stored.
    """

    enabled: bool = True
    ttl_s: float = Field(default=3600.0, gt=0)
    entries: int = Field(default=10_000, ge=1)
    bytes: int = Field(default=64 * 1_048_576, ge=1_024)
    answer_bytes: int = Field(default=262_144, ge=1_024)
    generation: str = ""
    semantic: SemanticCache = SemanticCache()


def known_providers() -> dict[str, Provider]:
    return {name: Provider.model_validate(table) for name, table in _KNOWN.items()}


def providers_of(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of the settings with the known providers beneath.

    Raises:
        ValueError: one has the name of Triton's models.
    """
    if TRITON in tables:
        raise ValueError(f"{TRITON} is no name for a provider: its settings are in [triton]")
    merged: dict[str, Any] = {name: dict(table) for name, table in _KNOWN.items()}
    for name, table in tables.items():
        known = merged.get(name, {})
        merged[name] = {**known, **table} if isinstance(table, Mapping) else table
    return merged
