"""The scripts that change a run with its session: SUBMIT, COMMIT, CANCEL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import (
    RUN_FIELDS,
    Arg,
    check_tenant,
    run_from,
    session_doc,
    transition_args,
)
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.signals import WorkSignals
from orchestrator.domain import ids
from orchestrator.domain.errors import NotFound
from orchestrator.domain.machine import CancelRequested, Transition, advance
from orchestrator.domain.runs import Run
from orchestrator.domain.work import Lease, WorkKind


class Changes:
    def __init__(self, database: Database, signals: WorkSignals) -> None:
        self._db = database
        self._signals = signals

    async def read(self, tenant: str, run_id: str) -> tuple[Run, int]:
        """Returns the run and its version.

        Raises:
            NotFound: no such run of this tenant.
        """
        shard = ids.shard_from(run_id, field="run_id")
        key = keys.run(shard, check_tenant(tenant), run_id)[0]
        (fields,) = await self._db.ask([("HMGET", key, *RUN_FIELDS)])
        if fields[0] != tenant:
            raise NotFound(f"there is no run {run_id}")
        return run_from(fields), int(fields[3])

    async def submit(self, moved: Transition, labels: Mapping[str, str]) -> tuple[str, str]:
        """Returns the outcome, and what it is about: the active run, the limit that is reached."""
        run, limits = moved.run, self._db.limits
        # A session that `register` made shares the unique part of its first run's id.
        is_new = run.session_id.removeprefix("ses") == run.run_id.removeprefix("run")
        doc = session_doc(run.agent.partition("@")[0], dict(labels)) if is_new else ""
        specific: list[Arg] = [
            int(is_new),
            doc,
            run.busy_policy.value,
            limits.live_runs,
            limits.waiting_runs,
        ]
        outcome, about = await self._change("submit", specific, moved, step=run.step, attempt=0)
        return outcome, about

    async def commit(self, lease: Lease, version: int, moved: Transition, *, dead: str = "") -> str:
        """Returns DONE, STALE or VERSION."""
        specific: list[Arg] = [lease.item.key, lease.nonce, version]
        step, attempt = lease.item.step, lease.attempt
        outcome, _ = await self._change(
            "commit", specific, moved, step=step, attempt=attempt, dead=dead
        )
        return outcome

    async def cancel(self, tenant: str, run_id: str) -> Run:
        while True:
            run, version = await self.read(tenant, run_id)
            if run.state.terminal:
                return run
            moved = advance(run, CancelRequested())
            outcome, _ = await self._change("cancel", [version], moved, step=run.step, attempt=0)
            if outcome in ("DONE", "ASKED"):
                return (await self.read(tenant, run_id))[0]

    async def _change(
        self,
        script: str,
        specific: list[Arg],
        moved: Transition,
        *,
        step: int,
        attempt: int,
        dead: str = "",
    ) -> tuple[str, str]:
        run, limits = moved.run, self._db.limits
        shard = ids.shard_from(run.run_id, field="run_id")
        reply: list[Any] = await self._db.call(
            script,
            keys.changing(shard, check_tenant(run.tenant), run.session_id, run.run_id),
            [
                *self._db.queue_args,
                shard,
                run.tenant,
                run.session_id,
                run.run_id,
                keys.channel(shard, run.run_id),
                limits.events,
                limits.run_ttl_s * 1000,
                limits.session_ttl_s * 1000,
                limits.dead_letters,
                *specific,
                *transition_args(moved, step=step, attempt=attempt, dead=dead),
            ],
        )
        outcome, kinds, about = reply
        for kind in kinds:
            self._signals.add(WorkKind(kind), shard)
        return outcome, about
