"""What the adapters of model providers share: the connection, its key, its failures."""

from orchestrator.adapters.provider_connection.api_key import ApiKey
from orchestrator.adapters.provider_connection.connection import ProviderConnection

__all__ = ["ApiKey", "ProviderConnection"]
