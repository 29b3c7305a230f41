"""The run store in Redis: reads, and the writes of the api."""

from __future__ import annotations

import json
from collections.abc import Mapping

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import RUN_FIELDS, check_tenant, run_from
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.execution import Execution
from orchestrator.adapters.redis_state.listing import newest_first
from orchestrator.adapters.redis_state.signals import WorkSignals
from orchestrator.adapters.redis_state.unique import UniqueIds
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import Exhausted, FailedPrecondition, NotFound
from orchestrator.domain.machine import Transition
from orchestrator.domain.runs import BusyPolicy, Run, StepRecord
from orchestrator.ports.state import Page, Registration

RETRY_AFTER_S = 1.0


class RedisRunStore(Execution):
    def __init__(self, database: Database, signals: WorkSignals, unique: UniqueIds) -> None:
        super().__init__(database, signals)
        self._unique = unique

    async def register(
        self, tenant: str, request_id: str, *, fingerprint: str, session_id: str
    ) -> Registration:
        unique = self._unique()
        home = ids.shard_of(check_tenant(tenant), request_id, self._db.shards)
        shard = ids.shard_from(session_id, field="session_id") if session_id else home
        run_id = ids.run_id(shard, unique)
        session_id = session_id or ids.session_id(shard, unique)
        mine = json.dumps([tenant, run_id, session_id, fingerprint])
        key = keys.request(home, tenant, request_id)
        ttl_s = self._db.limits.request_ttl_s
        before = await self._db.put_if_new(key, mine, ttl_s=ttl_s)
        # A repeated call finds what it stored itself.
        if before is None or before == mine:
            return Registration(run_id, session_id, fingerprint, created=True)
        owner, run_id, session_id, fingerprint = json.loads(before)
        if owner != tenant:
            raise NotFound(f"there is no request {request_id}")
        return Registration(run_id, session_id, fingerprint, created=False)

    async def submit(self, transition: Transition, *, session_labels: Mapping[str, str]) -> bool:
        run = transition.run
        outcome, about = await self._changes.submit(transition, session_labels)
        if outcome == "NO_SESSION":
            raise NotFound(f"there is no session {run.session_id}")
        if outcome == "SESSION_BUSY":
            raise FailedPrecondition(
                f"session {run.session_id} has the active run {about}",
                reason="SESSION_BUSY",
                metadata={"active_run_id": about},
            )
        if outcome == "QUEUE_FULL":
            limit = getattr(self._db.limits, about)
            raise Exhausted(
                f"the queue is full: {about} is {limit}",
                reason="QUEUE_FULL",
                retry_after_s=RETRY_AFTER_S,
            )
        if outcome == "DONE" and about and run.busy_policy is BusyPolicy.INTERRUPT:
            await self.cancel(run.tenant, about)
        return bool(outcome == "DONE")

    async def cancel(self, tenant: str, run_id: str) -> Run:
        return await self._changes.cancel(tenant, run_id)

    async def get(self, tenant: str, run_id: str) -> Run:
        return (await self._changes.read(tenant, run_id))[0]

    async def steps(self, tenant: str, run_id: str) -> tuple[StepRecord, ...]:
        shard = ids.shard_from(run_id, field="run_id")
        run, _, steps = keys.run(shard, check_tenant(tenant), run_id)
        owner, found = await self._db.ask([("HGET", run, "tenant"), ("LRANGE", steps, 0, -1)])
        if owner != tenant:
            raise NotFound(f"there is no run {run_id}")
        return tuple(StepRecord.model_validate_json(text) for text in found)

    async def _indexes(self, tenant: str, session_id: str) -> list[tuple[str, str]]:
        if not session_id:
            return [
                (keys.runs(shard, tenant), ids.run_id(shard, ""))
                for shard in range(self._db.shards)
            ]
        shard = ids.shard_from(session_id, field="session_id")
        key, _ = keys.session(shard, tenant, session_id)
        (fields,) = await self._db.ask([("HMGET", key, "tenant", "gone")])
        if fields != [tenant, None]:
            raise NotFound(f"there is no session {session_id}")
        return [(keys.session_runs(shard, tenant, session_id), ids.run_id(shard, ""))]

    async def list(self, tenant: str, *, session_id: str, limit: int, token: str) -> Page[Run]:
        listing = f"runs {session_id}"
        before = pages.decode(listing, check_tenant(tenant), token)
        indexes = await self._indexes(tenant, session_id)
        found, last = await newest_first(self._db, indexes, before=before, limit=limit)
        replies = await self._db.ask(
            [
                (
                    "HMGET",
                    keys.run(ids.shard_from(run_id, field="run_id"), tenant, run_id)[0],
                    *RUN_FIELDS,
                )
                for run_id in found
            ]
        )
        runs = tuple(run_from(fields) for fields in replies if fields[0] == tenant)
        return Page(runs, pages.encode(listing, tenant, last))
