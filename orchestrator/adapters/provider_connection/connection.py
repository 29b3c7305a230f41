"""How a provider's server is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from orchestrator.adapters.provider_connection.api_key import ApiKey


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """`base_url` is as the provider's SDK takes it: OpenAI's ends in `/v1`, Anthropic's does not.

    A process holds at most `max_connections`. A request waits up to `first_byte_s` for a free
    one, and again as long for the first piece of its answer; after that no piece may be
    `between_chunks_s` away from the one before. `whole_s` bounds all of it. HTTP/2 is spoken
    where `http2` asks for it, the package `h2` is installed and the server speaks it.
    `headers` go with every request.
    """

    name: str
    base_url: str
    key: ApiKey | None = None  # None: the server wants none
    max_connections: int = 100
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_chunks_s: float = 30.0
    whole_s: float = 600.0
    http2: bool = False
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
