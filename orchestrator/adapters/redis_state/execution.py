"""The run store in Redis: claims, leases and commits."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections import defaultdict
from collections.abc import Sequence
from weakref import WeakValueDictionary

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.changes import Changes
from orchestrator.adapters.redis_state.codec import RUN_FIELDS, lease_from, payload_json, run_from
from orchestrator.adapters.redis_state.database import Call, Database
from orchestrator.adapters.redis_state.expiry import drop_expired
from orchestrator.adapters.redis_state.signals import WorkSignals
from orchestrator.domain import ids
from orchestrator.domain.errors import StaleLease, VersionConflict
from orchestrator.domain.events import Payload, StateChanged, StepRestarted
from orchestrator.domain.machine import Failed, Transition, advance
from orchestrator.domain.runs import RunError, RunState
from orchestrator.domain.work import Claim, Lease, WorkKind
from orchestrator.ports.state import LeaseState, RunStore

_RUNNING = payload_json(StateChanged(state=RunState.RUNNING))
_RESTARTED = payload_json(StepRestarted(reason="its lease ended without a result"))


class Execution(RunStore):
    """The half of the store that workers and toolboxes use."""

    def __init__(self, database: Database, signals: WorkSignals) -> None:
        self._db = database
        self._signals = signals
        self._changes = Changes(database, signals)
        self._emit_numbers = itertools.count(1)
        self._emitting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def claim(
        self, kind: WorkKind, *, worker: str, limit: int, lease_ms: int
    ) -> tuple[Claim, ...]:
        leases: list[Lease] = []
        for shard in await self._signals.due(kind):
            wanted = limit - len(leases)
            if wanted <= 0:
                self._signals.add(kind, shard)
                continue
            found = await self._lease(shard, kind, worker, wanted, lease_ms)
            leases += found
            if len(found) == wanted:
                self._signals.add(kind, shard)
        return await self._begin(leases)

    async def _lease(
        self, shard: int, kind: WorkKind, worker: str, limit: int, lease_ms: int
    ) -> list[Lease]:
        operation = _nonce()
        reply = await self._db.call(
            "claim",
            [*keys.queue(shard), keys.operation(shard, operation)],
            [
                *self._db.queue_args,
                shard,
                kind.value,
                limit,
                lease_ms,
                operation,
                worker,
            ],
        )
        return [lease_from(entry) for entry in reply]

    async def _begin(self, leases: list[Lease]) -> tuple[Claim, ...]:
        replies = await self._db.call_each([self._beginning(lease) for lease in leases])
        claims: list[Claim] = []
        for lease, fields in zip(leases, replies, strict=True):
            if fields is None:
                await self._drop(lease)
                continue
            run = run_from(fields)
            claims.append(Claim(lease=lease, run=run, version=int(fields[3])))
        return tuple(claims)

    def _beginning(self, lease: Lease) -> Call:
        shard, run_id = _shard(lease), lease.item.run_id
        run, events, _ = keys.run(shard, lease.tenant, run_id)
        return (
            "begin",
            [keys.held(shard), run, events],
            [
                lease.item.key,
                lease.nonce,
                lease.tenant,
                lease.item.step,
                lease.attempt,
                keys.channel(shard, run_id),
                self._db.limits.events,
                _RUNNING,
                _RESTARTED,
            ],
        )

    async def _drop(self, lease: Lease) -> None:
        shard = _shard(lease)
        await self._db.call(
            "drop",
            keys.queue(shard),
            [*self._db.queue_args, shard, lease.item.key, lease.nonce],
        )

    async def wait_for_work(self, kind: WorkKind, *, timeout_s: float) -> None:
        await self._signals.wait(kind, timeout_s)

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> tuple[LeaseState, ...]:
        by_shard: defaultdict[int, list[int]] = defaultdict(list)
        for index, lease in enumerate(leases):
            by_shard[_shard(lease)].append(index)
        replies = await self._db.call_each(
            [
                _extension(shard, [leases[i] for i in indexes], lease_ms)
                for shard, indexes in by_shard.items()
            ]
        )
        states = [LeaseState.LOST] * len(leases)
        for indexes, reply in zip(by_shard.values(), replies, strict=True):
            for index, state in zip(indexes, reply, strict=True):
                states[index] = LeaseState(state)
        return tuple(states)

    async def emit(self, lease: Lease, payloads: Sequence[Payload]) -> None:
        if not payloads:
            return
        shard, run_id = _shard(lease), lease.item.run_id
        run, events, _ = keys.run(shard, lease.tenant, run_id)
        # The script takes a number that is not above the last one for a repeat.
        lock = self._emitting.setdefault(lease.nonce, asyncio.Lock())
        async with lock:
            outcome = await self._db.call(
                "emit",
                [keys.held(shard), run, events],
                [
                    lease.item.key,
                    lease.nonce,
                    next(self._emit_numbers),
                    lease.tenant,
                    lease.item.step,
                    lease.attempt,
                    keys.channel(shard, run_id),
                    self._db.limits.events,
                    *map(payload_json, payloads),
                ],
            )
        if outcome == "STALE":
            raise _stale(lease)

    async def commit(self, claim: Claim, transition: Transition) -> None:
        lease = claim.lease
        outcome = await self._changes.commit(lease, claim.version, transition)
        if outcome == "STALE":
            raise _stale(lease)
        if outcome == "VERSION":
            raise VersionConflict(
                f"run {lease.item.run_id} is not at version {claim.version} any more"
            )

    async def refresh(self, claim: Claim) -> Claim:
        lease = claim.lease
        key = keys.run(_shard(lease), lease.tenant, lease.item.run_id)[0]
        (fields,) = await self._db.ask([("HMGET", key, *RUN_FIELDS)])
        if fields[0] != lease.tenant:
            raise _stale(lease)
        return claim.model_copy(update={"run": run_from(fields), "version": int(fields[3])})

    async def reap(self, *, limit: int) -> int:
        await drop_expired(self._db)
        replies = await self._db.call_each(
            [
                (
                    "reap",
                    keys.queue(shard),
                    [*self._db.queue_args, shard, limit, self._db.limits.max_attempts, _nonce()],
                )
                for shard in range(self._db.shards)
            ]
        )
        count = 0
        for shard, (kinds, queued, exhausted) in enumerate(replies):
            for kind in kinds:
                self._signals.add(WorkKind(kind), shard)
            count += int(queued) + len(exhausted)
            for entry in exhausted:
                await self._give_up(lease_from(entry))
        return count

    async def _give_up(self, lease: Lease) -> None:
        """Fails the run of an item that was tried too often, for which we hold the lease."""
        key = keys.run(_shard(lease), lease.tenant, lease.item.run_id)[0]
        error = RunError(
            reason="ATTEMPTS_EXHAUSTED",
            message=f"step {lease.item.step} was tried {lease.attempt} times without a result",
        )
        while True:
            (fields,) = await self._db.ask([("HMGET", key, *RUN_FIELDS)])
            run = run_from(fields) if fields[0] == lease.tenant else None
            if run is None or run.state.terminal:
                return await self._drop(lease)
            cause = json.dumps(
                {"reason": error.reason, "item": lease.item.key, "attempts": lease.attempt}
            )
            outcome = await self._changes.commit(
                lease, int(fields[3]), advance(run, Failed(error)), dead=cause
            )
            if outcome != "VERSION":
                return None


def _extension(shard: int, leases: list[Lease], lease_ms: int) -> Call:
    sessions = [keys.session(shard, lease.tenant, lease.session_id)[0] for lease in leases]
    about = [(lease.item.key, lease.nonce, lease.item.run_id) for lease in leases]
    return (
        "extend",
        [keys.leases(shard), keys.held(shard), *sessions],
        [lease_ms, *itertools.chain.from_iterable(about)],
    )


def _nonce() -> str:
    """Random; the scripts number the leases of one call after it."""
    return f"{secrets.token_hex(12)}-"


def _shard(lease: Lease) -> int:
    return ids.shard_from(lease.item.run_id, field="run_id")


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"the lease of {lease.item.key}, attempt {lease.attempt}, is not held any more"
    )
