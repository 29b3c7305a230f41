"""The scripts that change a run with its session: SUBMIT, COMMIT, CHANGE, CANCEL."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import (
    RUN_FIELDS,
    Arg,
    check_tenant,
    payload_json,
    run_from,
    session_doc,
    transition_args,
)
from orchestrator.adapters.redis_state.connection import Reply
from orchestrator.adapters.redis_state.database import Database
from orchestrator.adapters.redis_state.unique import UniqueIds
from orchestrator.domain import ids
from orchestrator.domain.errors import Internal, NotFound, VersionConflict
from orchestrator.domain.events import Payload
from orchestrator.domain.machine import CancelRequested, Transition, advance
from orchestrator.domain.runs import Run
from orchestrator.domain.work import DeadLetter, Lease, WorkKind
from orchestrator.ports.state import Versioned


class Changes:
    def __init__(self, database: Database, unique: UniqueIds) -> None:
        self._db = database
        self._unique = unique

    async def read(self, tenant: str, run_id: str) -> Versioned:
        """Raises NotFound: no such run of this tenant."""
        shard = ids.shard_from(run_id, field="run_id")
        key = keys.run(shard, check_tenant(tenant), run_id)[0]
        (fields,) = await self._db.ask([("HMGET", key, *RUN_FIELDS)])
        if fields[0] != tenant:
            raise NotFound(f"there is no run {run_id}")
        return Versioned(run_from(fields), int(fields[3]))

    async def submit(self, moved: Transition, labels: Mapping[str, str]) -> tuple[str, str]:
        """Returns the outcome, and what it is about: the active run, the limit that is reached."""
        run, limits = moved.run, self._db.limits
        shard = _shard(run)
        if run.parent is not None:
            _check_shard(run.parent.run_id, shard)
        # A session that `register` made shares the unique part of its first run's id.
        is_new = run.session_id.removeprefix("ses") == run.run_id.removeprefix("run")
        specific: list[Arg] = [
            operation_id(),
            int(is_new),
            run.agent.partition("@")[0],
            session_doc(labels),
            run.busy_policy.value,
            run.timeout_ms,
            limits.live_runs,
            limits.waiting_runs,
        ]
        more = (
            keys.runs(shard, run.tenant),
            keys.sessions(shard, run.tenant),
            keys.tenants(shard),
        )
        outcome, about = await self._change(
            "submit", specific, moved, step=run.step, more_keys=more
        )
        return outcome, about

    async def commit(
        self, lease: Lease, version: int, moved: Transition, emitted: Sequence[Payload] = ()
    ) -> str:
        """Returns DONE, STALE or VERSION."""
        shard, child = _shard(moved.run), moved.parked_on
        specific: list[Arg] = [lease.item.key, lease.nonce, version, child]
        specific += [len(emitted), *map(payload_json, emitted)]
        if child:
            _check_shard(child, shard)
        reply = await self._change(
            "commit",
            specific,
            moved,
            step=lease.item.step,
            lease=lease,
            more_keys=keys.run(shard, lease.tenant, child)[:1] if child else (),
        )
        if reply == "DONE":
            await self._cascade(moved)
        return str(reply)

    async def change(self, moved: Transition, version: int) -> None:
        """Raises NotFound, VersionConflict."""
        run = moved.run
        # Its events belong to the step that it ends, if what follows is the next.
        goes_on = any(item.kind is WorkKind.REASON for item in moved.enqueue)
        outcome = await self._change(
            "change", [version, operation_id()], moved, step=run.step - goes_on
        )
        if outcome == "NO_RUN":
            raise NotFound(f"there is no run {run.run_id}")
        if outcome == "VERSION":
            raise VersionConflict(f"run {run.run_id} is not at version {version} any more")
        await self._cascade(moved)

    async def cancel(self, tenant: str, run_id: str) -> Run:
        while True:
            found = await self.read(tenant, run_id)
            run = found.run
            if run.state.terminal:
                return run
            moved = advance(run, CancelRequested())
            outcome = await self._change("cancel", [found.version], moved, step=run.step)
            # ENDED is also what the repetition of a lost reply finds.
            if outcome in ("DONE", "ENDED"):
                await self._cascade(moved)
            if outcome in ("DONE", "ENDED", "ASKED"):
                return (await self.read(tenant, run_id)).run

    async def _cascade(self, moved: Transition) -> None:
        """Should we die before it: a child learns at its claim or heartbeat that it is to end."""
        for child in moved.cascade:
            with contextlib.suppress(NotFound):
                await self.cancel(moved.run.tenant, child)

    async def _change(
        self,
        script: str,
        specific: list[Arg],
        moved: Transition,
        *,
        step: int,
        lease: Lease | None = None,
        more_keys: Sequence[str] = (),
    ) -> Reply:
        dead = self._dead_letter(moved.run, step, lease) if moved.dead_letter else None
        after = transition_args(moved, step=step, attempt=lease.attempt if lease else 0, dead=dead)
        while True:
            reply = await self._db.call(
                script, *self._changing(moved.run, specific, after, more_keys, dead)
            )
            if reply != "DAY":
                return reply
            await self._db.now_ms()

    def _changing(
        self,
        run: Run,
        specific: list[Arg],
        after: list[Arg],
        more_keys: Sequence[str],
        dead: DeadLetter | None,
    ) -> tuple[list[str], list[Arg]]:
        """Returns the keys and arguments of a script that needs `_run`."""
        limits, shard, days = self._db.limits, _shard(run), self._db.clock.days()
        tenant = check_tenant(run.tenant)
        names = keys.changing(shard, tenant, run.session_id, run.run_id, days)
        names += more_keys
        if dead is not None:
            names += keys.dead(shard)
        return names, [
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
            *days,
            limits.usage_days,
            *specific,
            *after,
        ]

    def _dead_letter(self, run: Run, step: int, lease: Lease | None) -> DeadLetter:
        """The entry but for the worker and the time, which the script knows."""
        return DeadLetter(
            entry_id=f"dead_{_shard(run):02x}_{self._unique()}",
            tenant=run.tenant,
            run_id=run.run_id,
            session_id=run.session_id,
            agent=run.agent,
            item_key=lease.item.key if lease else "",
            step=step,
            attempts=lease.attempt if lease else 0,
            reason=run.error.reason if run.error else "",
            message=run.error.message if run.error else "",
            worker="",
            time_ms=0,
        )


def operation_id() -> str:
    return secrets.token_hex(12)


def _shard(run: Run) -> int:
    return ids.shard_from(run.run_id, field="run_id")


def _check_shard(run_id: str, shard: int) -> None:
    found = ids.shard_from(run_id, field="run_id")
    if found != shard:
        raise Internal(
            f"run {run_id} is in shard {found}, its other end in {shard}: register a child "
            "near its parent"
        )
