"""Who may call: everybody on this machine, or those with an API key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from orchestrator.domain.errors import InvalidInput, Unauthenticated
from orchestrator.ports.auth import Authenticator

DEFAULT_TENANT = "default"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")


class OpenAuthenticator(Authenticator):
    """Takes every caller for one tenant."""

    loopback_only = True

    async def authenticate(self, metadata: Mapping[str, str]) -> str:  # noqa: ARG002
        return DEFAULT_TENANT


class ApiKeyAuthenticator(Authenticator):
    """Knows the SHA-256 (hex) of each key, never the key, and the tenant it speaks for."""

    def __init__(self, tenants_by_digest: Mapping[str, str]) -> None:
        """Raises InvalidInput for what is no digest, no tenant, or no key at all."""
        if not tenants_by_digest:
            raise InvalidInput("no API keys are given: nobody could call", field="keys")
        for digest, tenant in tenants_by_digest.items():
            if not _DIGEST.fullmatch(digest.lower()):
                raise InvalidInput(
                    f"the key of tenant {tenant!r} is not a SHA-256 in hex: write "
                    "`printf %s KEY | sha256sum`, not the key itself",
                    field="keys",
                )
            if not _TENANT.fullmatch(tenant):
                raise InvalidInput(
                    f"tenant {tenant!r} is not a name: up to 64 of a-z, 0-9, '_', '-'",
                    field="keys",
                )
        self._tenants = {
            bytes.fromhex(digest): tenant for digest, tenant in tenants_by_digest.items()
        }

    async def authenticate(self, metadata: Mapping[str, str]) -> str:
        scheme, _, key = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated(
                "no API key: send the metadata `authorization: Bearer KEY`", reason="NO_CREDENTIALS"
            )
        presented = hashlib.sha256(key.strip().encode(errors="backslashreplace")).digest()
        # All are compared, each in constant time: how long it takes says nothing about the keys.
        found = [t for d, t in self._tenants.items() if hmac.compare_digest(d, presented)]
        if not found:
            raise Unauthenticated("unknown API key", reason="UNKNOWN_CREDENTIALS")
        return found[0]
