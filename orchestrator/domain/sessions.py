"""Sessions: a conversation, with one active run at a time."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from orchestrator.domain.base import Value


class Session(Value):
    session_id: str
    tenant: str
    agent: str = ""
    labels: Mapping[str, str] = Field(default_factory=dict)
    message_count: int = 0
    active_run_id: str = ""
    created_ms: int = 0
    updated_ms: int = 0
