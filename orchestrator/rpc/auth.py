"""Whose call this is: from its metadata, for the time of the call."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from orchestrator.ports.auth import Authenticator

_tenant: ContextVar[str] = ContextVar("tenant")


def tenant() -> str:
    """The tenant of the call that is being answered."""
    return _tenant.get()


async def identify(
    authenticator: Authenticator, metadata: Iterable[tuple[str, str | bytes]]
) -> None:
    """Sets the tenant of the current call.

    Raises:
        Unauthenticated: it speaks for nobody.
    """
    values = {key: value for key, value in metadata if isinstance(value, str)}
    _tenant.set(await authenticator.authenticate(values))
