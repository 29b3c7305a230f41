"""Model control of several Triton servers that are to hold the same models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from orchestrator.domain.errors import FleetError, InvalidInput, Unavailable
from orchestrator.ports.model_control import LoadState, ModelControl, ServedVersion

T = TypeVar("T")


class TritonReplicasControl(ModelControl):
    """Does everything at all of them. `on_away` is told of those that don't answer; only when
    none does, the method raises Unavailable.
    """

    def __init__(
        self, controls: Mapping[str, ModelControl], *, on_away: Callable[[str], None]
    ) -> None:
        """`controls` are by host:port."""
        self._controls = controls
        self._on_away = on_away

    async def served(self) -> list[ServedVersion]:
        """A version is ready when it is at every server that answers."""
        found = await self._everywhere(lambda control: control.served(), then="")
        keys = dict.fromkeys((row.model, row.version) for rows in found.values() for row in rows)
        here = {url: {(row.model, row.version): row for row in rows} for url, rows in found.items()}
        return [_merged(key, {url: rows.get(key) for url, rows in here.items()}) for key in keys]

    async def load(self, model: str) -> None:
        await self._everywhere(
            lambda control: control.load(model),
            then=f"; once it does, give it the model with: fleet models load {model}",
        )

    async def unload(self, model: str) -> None:
        await self._everywhere(
            lambda control: control.unload(model),
            then=f"; once it does, take the model from it with: fleet models unload {model}",
        )

    async def _everywhere(
        self, do: Callable[[ModelControl], Awaitable[T]], *, then: str
    ) -> dict[str, T]:
        async def one(url: str, control: ModelControl) -> tuple[str, T | FleetError]:
            try:
                return url, await do(control)
            except FleetError as error:
                return url, error

        ended = await asyncio.gather(*(one(url, each) for url, each in self._controls.items()))
        away = {url: end for url, end in ended if isinstance(end, Unavailable)}
        for url, end in ended:
            if isinstance(end, FleetError) and url not in away:
                raise _placed(end, url)
        if len(away) == len(self._controls):
            raise next(iter(away.values()))
        for url in away:
            self._on_away(f"Triton at {url} does not answer{then}")
        return {url: end for url, end in ended if not isinstance(end, FleetError)}


def _placed(error: FleetError, url: str) -> FleetError:
    message = f"at {url}: {error.message}"
    if isinstance(error, InvalidInput):
        return InvalidInput(message, reason=error.reason)
    return type(error)(message, reason=error.reason)


def _merged(key: tuple[str, str], rows: Mapping[str, ServedVersion | None]) -> ServedVersion:
    """The state that is not `ready` where there is one, with its place."""
    missing = ServedVersion(*key, LoadState.UNLOADED)
    states = {url: row or missing for url, row in rows.items()}
    first = next(iter(states.values()))
    if all(row.state is first.state for row in states.values()):
        return first
    url, other = next((url, r) for url, r in states.items() if r.state is not LoadState.READY)
    if other.state is LoadState.UNLOADED:
        return replace(other, state=LoadState.FAILED, reason=f"not loaded at {url}")
    return replace(other, reason=f"at {url}: {other.reason}" if other.reason else "")
