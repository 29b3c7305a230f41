"""The run store in Redis: reads, and the writes of the api."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.changes import Changes
from orchestrator.adapters.redis_state.codec import RUN_FIELDS, check_tenant, run_from
from orchestrator.adapters.redis_state.database import Call, Database
from orchestrator.adapters.redis_state.execution import Execution
from orchestrator.adapters.redis_state.listing import newest_first
from orchestrator.adapters.redis_state.signals import Signals
from orchestrator.adapters.redis_state.unique import UniqueIds
from orchestrator.domain import ids, pages
from orchestrator.domain.errors import Exhausted, FailedPrecondition, NotFound
from orchestrator.domain.machine import Transition
from orchestrator.domain.runs import BusyPolicy, Run, StepRecord
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Page, Registration, TenantLoad, Versioned

RETRY_AFTER_S = 1.0
READ_AT_ONCE, LOOKED_AT = 100, 1000  # runs past their timeout, in a shard
LOOK_AGAIN_MS = 250  # at a child, whether its parent has ended
LOADS = 1000  # tenants of a shard, those that were here last


class RedisRunStore(Execution):
    def __init__(self, database: Database, signals: Signals, unique: UniqueIds) -> None:
        super().__init__(database, signals, Changes(database, unique))
        self._unique = unique

    async def register(
        self, tenant: str, request_id: str, *, fingerprint: str, session_id: str, near: str = ""
    ) -> Registration:
        unique = self._unique()
        home = ids.shard_of(check_tenant(tenant), request_id, self._db.shards)
        if session_id:
            shard = ids.shard_from(session_id, field="session_id")
        else:
            shard = ids.shard_from(near, field="near") if near else home
        run_id = ids.run_id(shard, unique)
        session_id = session_id or ids.session_id(shard, unique)
        mine = json.dumps([tenant, run_id, session_id, fingerprint])
        key = keys.request(home, tenant, request_id)
        ttl_s = self._db.limits.request_ttl_s
        before = await self._db.put_if_new(key, mine, ttl_s=ttl_s)
        # A repeated call finds what it stored itself.
        if before is None or before == mine:
            return Registration(run_id, session_id, fingerprint, created=True)
        known = _registration(tenant, before)
        if known is None:
            raise NotFound(f"there is no request {request_id}")
        return known

    async def registered(self, tenant: str, request_id: str) -> Registration | None:
        home = ids.shard_of(check_tenant(tenant), request_id, self._db.shards)
        (found,) = await self._db.ask([("GET", keys.request(home, tenant, request_id))])
        return None if found is None else _registration(tenant, found)

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

    async def change(self, transition: Transition, *, version: int) -> None:
        await self._changes.change(transition, version)

    def cancels(self) -> AsyncIterator[str]:
        return self._signals.cancels()

    async def overdue(self, *, limit: int) -> tuple[Versioned, ...]:
        now_ms = await self._db.now_ms()
        found: list[Versioned] = []
        for shard in range(self._db.shards):
            found += await self._overdue_in(shard, now_ms, limit)
        found.sort(key=_deadline_ms)
        return tuple(found[:limit])

    async def _overdue_in(self, shard: int, now_ms: int, limit: int) -> list[Versioned]:
        """Reads on past those that somebody works on."""
        found: list[Versioned] = []
        late = ("ZRANGE", keys.timeouts(shard), "-inf", f"({now_ms}", "BYSCORE", "LIMIT")
        for start in range(0, LOOKED_AT, READ_AT_ONCE):
            (entries,) = await self._db.ask([(*late, start, READ_AT_ONCE)])
            (fields,) = await self._db.call_each([_left_alone(shard, entries)])
            found += [Versioned(run_from(each), int(each[3])) for each in fields if each]
            if len(found) >= limit or len(entries) < READ_AT_ONCE:
                break
        return found

    async def orphans(self, *, limit: int) -> tuple[Run, ...]:
        before = f"({await self._db.now_ms() - LOOK_AGAIN_MS}"
        shards = range(self._db.shards)
        listings = await self._db.ask(
            [
                ("ZRANGE", keys.children(s), "-inf", before, "BYSCORE", "LIMIT", 0, limit)
                for s in shards
            ]
        )
        replies = await self._db.call_each(
            [
                _orphaned(shard, entries)
                for shard, entries in zip(shards, listings, strict=True)
                if entries
            ]
        )
        found = [run_from(fields) for reply in replies for fields in reply if fields]
        return tuple(found[:limit])

    async def loads(self, kind: WorkKind) -> tuple[TenantLoad, ...]:
        replies = await self._db.call_each(
            [
                (
                    "loads",
                    [*keys.queue(shard), keys.tenants(shard)],
                    [*self._db.queue_args, shard, kind.value, LOADS],
                )
                for shard in range(self._db.shards)
            ]
        )
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for tenant, *counts in (entry for reply in replies for entry in reply):
            sums[tenant] = [a + int(b) for a, b in zip(sums[tenant], counts, strict=True)]
        weights = self._db.limits.weights
        return tuple(
            TenantLoad(tenant, weights.get(tenant, 1.0), float(served), queued, running)
            for tenant, (served, queued, running) in sorted(sums.items())
        )

    async def read(self, tenant: str, run_id: str) -> Versioned:
        return await self._changes.read(tenant, run_id)

    async def get(self, tenant: str, run_id: str) -> Run:
        return (await self._changes.read(tenant, run_id)).run

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


def _registration(tenant: str, stored: str) -> Registration | None:
    owner, run_id, session_id, fingerprint = json.loads(stored)
    if owner != tenant:
        return None
    return Registration(run_id, session_id, fingerprint, created=False)


def _deadline_ms(late: Versioned) -> int:
    return late.run.created_ms + late.run.timeout_ms + late.run.paused_ms


def _left_alone(shard: int, entries: list[str]) -> Call:
    names = [keys.timeouts(shard), keys.items(shard)]
    about: list[str | int] = []
    for entry in entries:
        tenant, session_id, run_id = entry.split("\0")
        names += [
            keys.run(shard, tenant, run_id)[0],
            keys.session(shard, tenant, session_id)[0],
        ]
        about += [tenant, session_id, run_id]
    return "overdue", names, about


def _orphaned(shard: int, entries: list[str]) -> Call:
    names, about = [keys.children(shard)], []
    for entry in entries:
        tenant, _, run_id, parent_id = entry.split("\0")
        names += [keys.run(shard, tenant, each)[0] for each in (run_id, parent_id)]
        about += [tenant, entry]
    return "orphans", names, about
