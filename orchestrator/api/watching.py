"""Watching a run: a snapshot, then every later event once, in order, up to the terminal one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from orchestrator.api.streams import closing
from orchestrator.domain.errors import InvalidInput, OutOfRange
from orchestrator.domain.events import RunEvent
from orchestrator.domain.snapshot import Progress, Snapshot, fold
from orchestrator.ports.state import EventFeed, RunStore

Watched = Snapshot | RunEvent

FROM_NOW = -1
_READ_EVENTS = 500


async def watch(
    runs: RunStore, feed: EventFeed, tenant: str, run_id: str, *, after_seq: int
) -> AsyncGenerator[Watched]:
    """Yields the snapshot at `after_seq` (-1: at the last event), then what follows.

    Raises:
        InvalidInput: `after_seq` is below -1.
        NotFound: no such run of this tenant.
        OutOfRange: EVENTS_TRIMMED, the next event is gone; SEQ_NOT_REACHED, `after_seq`
            is later than the run's last event.
    """
    if after_seq < FROM_NOW:
        raise InvalidInput(
            f"after_seq is {after_seq}: it has to be -1 (from now), 0 (from the beginning) "
            "or the number of the last event that was seen",
            field="after_seq",
            reason="OUT_OF_BOUNDS",
        )
    # The run is read after its events: a snapshot may know more than its `seq`, never less.
    await runs.get(tenant, run_id)
    progress = await _progress(feed, tenant, run_id, after_seq)
    yield Snapshot(await runs.get(tenant, run_id), progress)
    if progress.finished:
        return
    async with closing(feed.follow(tenant, run_id, after_seq=progress.seq)) as events:
        async for event in events:
            yield event


async def _progress(feed: EventFeed, tenant: str, run_id: str, until: int) -> Progress:
    """Folds the events up to `until`, or all there are."""
    progress = Progress()
    while until == FROM_NOW or progress.seq < until:
        limit = _READ_EVENTS if until == FROM_NOW else min(_READ_EVENTS, until - progress.seq)
        try:
            events = await feed.read(tenant, run_id, after_seq=progress.seq, limit=limit)
        except OutOfRange as trimmed:
            progress = _at_the_earliest(progress, until, trimmed)
            continue
        progress = fold(progress, events)
        if len(events) < limit:
            break
    if progress.seq < until:
        raise OutOfRange(
            f"after_seq is {until}, but the last event of run {run_id} is {progress.seq}",
            reason="SEQ_NOT_REACHED",
            metadata={"last_seq": str(progress.seq)},
        )
    return progress


def _at_the_earliest(progress: Progress, until: int, trimmed: OutOfRange) -> Progress:
    """Goes on with what is left: only the current step's text matters, and it is the newest.

    Raises:
        OutOfRange: the event after `until` is gone, too.
    """
    before = int(trimmed.metadata.get("earliest_seq", "0")) - 1
    if before <= progress.seq or FROM_NOW < until < before:
        raise trimmed
    return Progress(seq=before)
