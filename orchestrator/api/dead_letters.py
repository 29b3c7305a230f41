"""What failed because it was tried in vain: looked at, tried once more, thrown away."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import limits
from orchestrator.api.pages import within_a_message
from orchestrator.api.runs import Runs, Started, StartRun
from orchestrator.domain.errors import FailedPrecondition, InvalidInput, NotFound
from orchestrator.domain.runs import Run
from orchestrator.domain.work import DeadLetter
from orchestrator.ports.state import DeadLetters, Page, RunStore

REDRIVE_OF = "redrive_of"


class DeadLetterOffice:
    def __init__(self, entries: DeadLetters, *, store: RunStore, runs: Runs) -> None:
        self._entries = entries
        self._store = store
        self._runs = runs

    async def list(self, tenant: str, *, page_size: int, page_token: str) -> Page[DeadLetter]:
        limit = limits.page(page_size, page_token)
        return await within_a_message(
            lambda n: self._entries.list(tenant, limit=n, token=page_token), limit
        )

    async def get(self, tenant: str, entry_id: str) -> DeadLetter:
        _check_entry_id(entry_id, "entry_id")
        return await self._entries.get(tenant, entry_id)

    async def redrive(self, tenant: str, entry_id: str) -> Started:
        """Starts the entry's run once more, in its session, and removes the entry.

        The request id is the entry's: cut off between the two, the next call finds the
        run started and only removes. When the entry is gone it finds the run that it became,
        for as long as request ids are known.

        Raises:
            NotFound: no such entry of this tenant.
            FailedPrecondition: RUN_GONE, the failed run's time to live is over; SESSION_BUSY.
        """
        try:
            entry = await self.get(tenant, entry_id)
        except NotFound:
            run = await self._redriven(tenant, entry_id)
            if run is None:
                raise
            return Started(run, deduplicated=True)
        try:
            failed = await self._store.get(tenant, entry.run_id)
        except NotFound as gone:
            raise FailedPrecondition(
                f"run {entry.run_id} of entry {entry_id} is not kept any more: its input is gone; "
                "purge the entry",
                reason="RUN_GONE",
            ) from gone
        started = await self._runs.accept(tenant, _as_before(failed, entry_id))
        await self._entries.remove(tenant, [entry_id])
        return started

    async def _redriven(self, tenant: str, entry_id: str) -> Run | None:
        known = await self._store.registered(tenant, _request_id(entry_id))
        if known is None:
            return None
        try:
            run = await self._store.get(tenant, known.run_id)
        except NotFound:  # refused then, or deleted since
            return None
        return run if REDRIVE_OF in run.labels else None

    async def purge(self, tenant: str, entry_ids: Sequence[str], *, everything: bool) -> int:
        """Removes the named entries, or all of the tenant's; returns how many there were."""
        if everything and entry_ids:
            raise InvalidInput(
                "all is set and entry_ids are given: it has to be one of them", field="all"
            )
        if everything:
            return await self._purge_all(tenant)
        limits.count(entry_ids, "entry_ids", at_least=1, at_most=limits.PAGE_SIZE)
        for i, entry_id in enumerate(entry_ids):
            _check_entry_id(entry_id, f"entry_ids[{i}]")
        return await self._entries.remove(tenant, entry_ids)

    async def _purge_all(self, tenant: str) -> int:
        removed, token = 0, ""
        while True:
            page = await self._entries.list(tenant, limit=limits.PAGE_SIZE, token=token)
            removed += await self._entries.remove(tenant, [entry.entry_id for entry in page.items])
            token = page.next_token
            if not token:
                return removed


def _as_before(failed: Run, entry_id: str) -> StartRun:
    return StartRun(
        request_id=_request_id(entry_id),
        session_id=failed.session_id,
        agent=failed.agent,
        input=failed.input,
        busy_policy=failed.busy_policy,
        budget=failed.budget,
        timeout_ms=failed.timeout_ms,
        priority=failed.priority,
        labels={**failed.labels, REDRIVE_OF: failed.run_id},
        output_schema_json=failed.output_schema_json,
    )


def _request_id(entry_id: str) -> str:
    return f"redrive:{entry_id}"


def _check_entry_id(value: str, field: str) -> None:
    limits.text(value, field, max_bytes=limits.ENTRY_ID_BYTES, required=True)
