"""Triton's model control."""

from __future__ import annotations

import asyncio
import time

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.domain.errors import DeadlineExceeded
from orchestrator.ports.model_control import LoadState, ModelControl, ServedVersion

_POLL_S = 0.1
_STATES = {
    "READY": LoadState.READY,
    "LOADING": LoadState.LOADING,
    "UNLOADING": LoadState.UNLOADING,
}


class TritonModelControl(ModelControl):
    """`load_timeout_s` is long: an engine may have to read and compile a large model."""

    def __init__(
        self,
        connection: TritonConnection,
        *,
        load_timeout_s: float = 900.0,
        unload_timeout_s: float = 60.0,
    ) -> None:
        self._connection = connection
        self._load_timeout_s = load_timeout_s
        self._unload_timeout_s = unload_timeout_s

    async def served(self) -> list[ServedVersion]:
        rows = await self._connection.repository_index()
        return [
            ServedVersion(
                one.model, one.version, _state(one.state, one.reason), _reason(one.reason)
            )
            for one in rows
        ]

    async def load(self, model: str) -> None:
        await self._connection.load(model, timeout_s=self._load_timeout_s)

    async def unload(self, model: str) -> None:
        await self._connection.unload(model, timeout_s=self._unload_timeout_s)
        deadline = time.monotonic() + self._unload_timeout_s
        while await self._holds(model):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"model {model} has not ended {self._unload_timeout_s:g} s after its unload"
                )
            await asyncio.sleep(_POLL_S)

    async def _holds(self, model: str) -> bool:
        held = {LoadState.READY, LoadState.LOADING, LoadState.UNLOADING}
        return any(row.model == model and row.state in held for row in await self.served())


def _state(state: str, reason: str) -> LoadState:
    if state in _STATES:
        return _STATES[state]
    return LoadState.FAILED if _reason(reason) else LoadState.UNLOADED


def _reason(reason: str) -> str:
    """What Triton says of a model that was unloaded on request is no reason."""
    said = " ".join(reason.split())
    return "" if said == "unloaded" else said
