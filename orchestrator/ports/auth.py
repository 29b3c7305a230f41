"""Who is calling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Authenticator(ABC):
    loopback_only: bool = False
    """It lets everybody in, so its server may listen on this machine only."""

    @abstractmethod
    async def authenticate(self, metadata: Mapping[str, str]) -> str:
        """Returns the tenant that the request's metadata (lower-case keys) speaks for.

        Raises:
            Unauthenticated: no credentials, or unknown ones.
        """
