"""A run store that is away, hangs or is deaf when a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from orchestrator.domain.errors import Unavailable
from orchestrator.ports.state import RunStore

AWAY = Unavailable("the store is away", reason="STORE_UNAVAILABLE")


class OutageRuns(RunStore):
    """Hands every call on, but those named in `away` fail, those in `broken` by a
    defect, and those in `hanging` wait.

    In `lost` are calls that are carried out and whose reply is lost once; in `held` those
    whose reply waits for the event. `calls` counts.
    """

    inner: RunStore
    away: set[str]
    broken: set[str]
    hanging: set[str]
    lost: set[str]
    held: dict[str, asyncio.Event]
    deaf: bool
    calls: Counter[str]

    async def cancels(self) -> AsyncIterator[str]:
        async for run_id in self.inner.cancels():
            if not self.deaf:
                yield run_id


def _handed_on(name: str) -> Any:
    async def call(self: OutageRuns, *args: Any, **kwargs: Any) -> Any:
        self.calls[name] += 1
        if name in self.hanging:
            await asyncio.Event().wait()
        if name in self.away:
            raise AWAY
        if name in self.broken:
            raise LookupError("a defect")
        result = await getattr(self.inner, name)(*args, **kwargs)
        if name in self.held:
            await self.held[name].wait()
        if name in self.lost:
            self.lost.remove(name)
            raise AWAY
        return result

    return call


_Complete: Any = type(
    "_Complete",
    (OutageRuns,),
    {name: _handed_on(name) for name in RunStore.__abstractmethods__ - {"cancels"}},
)


def with_outages(inner: RunStore) -> OutageRuns:
    runs: OutageRuns = _Complete()
    runs.inner, runs.away, runs.hanging, runs.lost = inner, set(), set(), set()
    runs.broken = set()
    runs.held, runs.deaf, runs.calls = {}, False, Counter()
    return runs
