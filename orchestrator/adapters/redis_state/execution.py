"""The run store in Redis: claims, leases and commits."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.changes import Changes, operation_id
from orchestrator.adapters.redis_state.codec import (
    RUN_FIELDS,
    lease_from,
    messages_from,
    payload_json,
    run_from,
)
from orchestrator.adapters.redis_state.connection import Reply
from orchestrator.adapters.redis_state.database import Call, Database
from orchestrator.adapters.redis_state.expiry import drop_expired
from orchestrator.adapters.redis_state.signals import Signals
from orchestrator.domain import ids
from orchestrator.domain.budgets import MOST_MICROS, over_budget
from orchestrator.domain.errors import StaleLease, VersionConflict
from orchestrator.domain.events import Payload, StateChanged, StepRestarted
from orchestrator.domain.machine import Failed, Transition, advance
from orchestrator.domain.runs import RunError, RunState
from orchestrator.domain.work import Claim, Lease, WorkKind
from orchestrator.ports.state import LeaseState, RunStore

UNSURE_KEPT = 1024
_OVER = 7  # of what CLAIM returns
_RUNNING = payload_json(StateChanged(state=RunState.RUNNING))
_RESTARTED = payload_json(StepRestarted(reason="the last try ended without a result"))


class Execution(RunStore):
    """The half of the store that workers and toolboxes use."""

    def __init__(self, database: Database, signals: Signals, changes: Changes) -> None:
        self._db = database
        self._signals = signals
        self._changes = changes
        self._first_shard = 0
        self._emit_numbers = itertools.count(1)
        # By nonce, the number and the texts of an emit that may or may not have been written.
        self._unsure: dict[str, tuple[int, list[str]]] = {}
        self._emitting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def claim(
        self,
        kind: WorkKind,
        *,
        worker: str,
        limit: int,
        lease_ms: int,
        history: int = 0,
        reserve_micros: int = 0,
    ) -> tuple[Claim, ...]:
        self._signals.looking(kind)
        entries: list[Reply] = []
        for shard in await self._shards(kind):
            left = limit - len(entries)
            if left:
                about = [kind.value, left, lease_ms, f"{operation_id()}-", worker]
                entries += await self._lease(shard, [*about, min(reserve_micros, MOST_MICROS)])
        return await self._begin(entries, history)

    async def _shards(self, kind: WorkKind) -> list[int]:
        """The shards that may have work; each time another comes first."""
        count = self._db.shards
        if count == 1:
            return [0]
        self._first_shard = (self._first_shard + 1) % count
        shards = [(self._first_shard + i) % count for i in range(count)]
        replies = await self._db.ask(
            [
                command
                for shard in shards
                for command in (
                    ("EXISTS", keys.ready(shard, kind.value)),
                    ("EXISTS", keys.delayed(shard)),
                )
            ]
        )
        return [s for i, s in enumerate(shards) if replies[2 * i] or replies[2 * i + 1]]

    async def _lease(self, shard: int, about: Sequence[str | int]) -> Reply:
        return await self._db.call(
            "claim",
            [*keys.queue(shard), keys.operation(shard, operation_id()), keys.spend(shard)],
            [*self._db.queue_args, shard, *about, self._db.budgets_of(shard)],
        )

    async def _begin(self, entries: list[Reply], history: int) -> tuple[Claim, ...]:
        leases = [lease_from(entry) for entry in entries]
        replies = await self._db.call_each([self._beginning(lease, history) for lease in leases])
        claims: list[Claim] = []
        for lease, entry, reply in zip(leases, entries, replies, strict=True):
            if reply is None:
                await self._drop(lease)
                continue
            fields, cancelled, messages = reply
            claims.append(
                Claim(
                    lease=lease,
                    run=run_from(fields),
                    version=int(fields[3]),
                    history=messages_from(messages),
                    cancel_requested=bool(cancelled),
                    over_budget=self._over_budget(lease.tenant, entry),
                    now_ms=int(entry[5]),
                    waited_ms=int(entry[6]),
                )
            )
        return tuple(claims)

    def _over_budget(self, tenant: str, entry: Sequence[Any]) -> str:
        """What CLAIM says of a budget that is spent, if it does."""
        if len(entry) <= _OVER:
            return ""
        whose, readable = entry[_OVER]
        return over_budget(self._db.limits.budgets, tenant, whose, readable=bool(readable))

    def _beginning(self, lease: Lease, history: int) -> Call:
        shard, item = _shard(lease), lease.item
        run, events, _ = keys.run(shard, lease.tenant, item.run_id)
        return (
            "begin",
            [
                keys.items(shard),
                run,
                events,
                *keys.session(shard, lease.tenant, lease.session_id),
                *_parent(lease),
            ],
            [
                item.key,
                lease.nonce,
                lease.tenant,
                item.run_id,
                item.step,
                lease.attempt,
                keys.channel(shard, item.run_id),
                self._db.limits.events,
                _RUNNING,
                _RESTARTED,
                history,
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
        texts = [payload_json(payload) for payload in payloads]
        async with lock:
            number, unsure = self._unsure.pop(lease.nonce, (0, []))
            if texts != unsure:
                number = next(self._emit_numbers)
            if len(self._unsure) >= UNSURE_KEPT:
                del self._unsure[next(iter(self._unsure))]
            self._unsure[lease.nonce] = number, texts
            outcome = await self._db.call(
                "emit",
                [keys.items(shard), run, events],
                [
                    lease.item.key,
                    lease.nonce,
                    number,
                    lease.tenant,
                    lease.item.step,
                    lease.attempt,
                    keys.channel(shard, run_id),
                    self._db.limits.events,
                    *texts,
                ],
            )
            self._unsure.pop(lease.nonce, None)
        if outcome == "STALE":
            raise _stale(lease)

    async def commit(
        self, claim: Claim, transition: Transition, *, emitted: Sequence[Payload] = ()
    ) -> None:
        lease = claim.lease
        outcome = await self._changes.commit(lease, claim.version, transition, emitted)
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
            raise StaleLease(f"run {lease.item.run_id} is gone")
        return claim.model_copy(update={"run": run_from(fields), "version": int(fields[3])})

    async def release(self, lease: Lease, *, delay_ms: int = 0, counts: bool = True) -> None:
        shard = _shard(lease)
        session, _ = keys.session(shard, lease.tenant, lease.session_id)
        outcome = await self._db.call(
            "release",
            [*keys.queue(shard), session, *_parent(lease)],
            [
                *self._db.queue_args,
                shard,
                lease.item.key,
                lease.nonce,
                lease.item.run_id,
                delay_ms,
                int(counts),
            ],
        )
        if outcome == "STALE":
            raise _stale(lease)

    async def reap(self, *, limit: int) -> int:
        await drop_expired(self._db)
        limits = self._db.limits
        replies = await self._db.call_each(
            [
                (
                    "reap",
                    [*keys.queue(shard), *keys.held(shard), keys.tenants(shard)],
                    [
                        *self._db.queue_args,
                        shard,
                        limit,
                        limits.max_attempts,
                        f"{operation_id()}-",
                        limits.run_ttl_s * 1000,
                    ],
                )
                for shard in range(self._db.shards)
            ]
        )
        count = 0
        for queued, exhausted in replies:
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
            moved = advance(run, Failed(error, dead_letter=True))
            if await self._changes.commit(lease, int(fields[3]), moved) != "VERSION":
                return None


def _extension(shard: int, leases: list[Lease], lease_ms: int) -> Call:
    names = [keys.leases(shard), keys.items(shard)]
    about: list[str | int] = [lease_ms]
    for lease in leases:
        parent = _parent(lease)
        names += [keys.session(shard, lease.tenant, lease.session_id)[0], *parent]
        about += [lease.item.key, lease.nonce, lease.item.run_id, lease.tenant, len(parent)]
    return "extend", names, about


def _parent(lease: Lease) -> tuple[str, ...]:
    """The key of the run that the item's run answers, if there is one."""
    parent = lease.item.parent_run_id
    return keys.run(_shard(lease), lease.tenant, parent)[:1] if parent else ()


def _shard(lease: Lease) -> int:
    return ids.shard_from(lease.item.run_id, field="run_id")


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"the lease of {lease.item.key}, attempt {lease.attempt}, is not held any more"
    )
