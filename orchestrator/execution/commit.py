"""Writing the outcome of a claimed item, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.domain.errors import Unavailable, VersionConflict
from orchestrator.domain.events import Payload
from orchestrator.domain.machine import Event, advance
from orchestrator.domain.runs import Run
from orchestrator.domain.work import Claim
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.state import RunStore


async def commit(
    runs: RunStore, claim: Claim, event: Event, *, emitted: Sequence[Payload] = ()
) -> Run:
    """Advances the run by `event` and commits; returns the run as it was written.

    Decides again when the run changed meanwhile, and tries again while the
    store is away: a commit is safe to repeat, and the end of the lease ends the
    tries. `emitted` are the item's events that were not written yet.

    Raises:
        StaleLease: somebody else holds the item now; nothing was written.
        FailedPrecondition: RUN_TERMINAL, the run ended meanwhile.
    """
    waits = full_jitter(base_s=0.05, cap_s=1.0)
    while True:
        try:
            transition = advance(claim.run, event)
            await runs.commit(claim, transition, emitted=emitted)
        except VersionConflict:
            claim = await _refreshed(runs, claim)
        except Unavailable:
            await asyncio.sleep(next(waits))
        else:
            return transition.run


async def _refreshed(runs: RunStore, claim: Claim) -> Claim:
    waits = full_jitter(base_s=0.05, cap_s=1.0)
    while True:
        try:
            return await runs.refresh(claim)
        except Unavailable:
            await asyncio.sleep(next(waits))
