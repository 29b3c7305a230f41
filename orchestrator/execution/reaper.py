"""Takes back what dead workers held."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.domain.errors import Unavailable
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.ports.state import RunStore

log = logging.getLogger(__name__)

BATCH = 100


async def reap_forever(runs: RunStore, metrics: ExecutionMetrics, *, every_s: float = 1.0) -> None:
    """Queues items with expired leases again, in bounded batches. Any number may run at once."""
    while True:
        try:
            count = await runs.reap(limit=BATCH)
        except Unavailable as error:
            log.warning("can't reap: %s", error.message)
            count = 0
        if count:
            log.warning("%d expired leases were taken back", count)
            metrics.reaped(count)
        if count < BATCH:
            await asyncio.sleep(every_s)
