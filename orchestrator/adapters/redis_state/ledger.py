"""The ledger in Redis: a hash for each day of a tenant, fields of its runs and sessions, and
what budgets count in one hash of each shard.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.changes import operation_id
from orchestrator.adapters.redis_state.codec import call_args, check_tenant
from orchestrator.adapters.redis_state.connection import Reply
from orchestrator.adapters.redis_state.database import Database
from orchestrator.domain import ids
from orchestrator.domain.budgets import (
    MOST_MICROS,
    BudgetRule,
    BudgetState,
    Period,
    day_of,
    over_budget,
)
from orchestrator.domain.errors import Exhausted, NotFound
from orchestrator.domain.runs import ModelCall, usage_of
from orchestrator.domain.usage import Totals, UsageRow
from orchestrator.ports.ledger import Ledger, Reservation

RETRY_AFTER_S = 0.5
READ_AT_ONCE = 512  # days and shards
_USE = "use"
_METRICS = {
    "calls": "calls",
    "cached": "cached_calls",
    "prompt": "prompt_tokens",
    "cached_prompt": "cached_prompt_tokens",
    "completion": "completion_tokens",
    "cost": "cost_micros",
}


class RedisLedger(Ledger):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def reserve(
        self, tenant: str, agent: str, micros: int, *, ttl_s: float = 300.0
    ) -> Reservation:
        check_tenant(tenant)
        shards = list(range(self._db.shards))
        random.shuffle(shards)
        if not any(self._db.limits.budgets.binding(tenant, agent)):
            return Reservation(_token(shards[0]), tenant, agent)
        replies: list[Reply] = []
        for shard in shards:
            token = _token(shard)
            about: list[str | int] = [tenant, agent, token]
            about += [min(micros, MOST_MICROS), int(ttl_s * 1000)]
            reply = await self._reserve(shard, about)
            if reply[0] == "DONE":
                return Reservation(token, tenant, agent)
            replies.append(reply)
        waits = next((reply for reply in replies if reply[0] == "WAIT"), None)
        _, whose, readable = waits or replies[0]
        if waits:
            raise Exhausted(
                f"the rest of the budget of {f'agent {whose}' if whose else f'tenant {tenant}'} "
                "is reserved for calls in hand",
                reason="BUDGET",
                retry_after_s=RETRY_AFTER_S,
            )
        budgets = self._db.limits.budgets
        raise Exhausted(
            over_budget(budgets, tenant, whose, readable=bool(readable)), reason="BUDGET"
        )

    async def _reserve(self, shard: int, about: Sequence[str | int]) -> Reply:
        return await self._db.call(
            "reserve",
            [*keys.queue(shard), keys.spend(shard), *keys.held(shard)],
            [*self._db.queue_args, shard, *about, self._db.budgets_of(shard)],
        )

    async def settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        tenant, token = check_tenant(reservation.tenant), reservation.token
        shard, sums = int(token[:2], 16), call_args(calls)
        while True:
            days = self._db.clock.days()
            reply = await self._db.call(
                "settle",
                [
                    *keys.queue(shard),
                    *keys.held(shard),
                    keys.spend(shard),
                    *(keys.usage(shard, tenant, day) for day in days),
                    keys.operation(shard, token),
                ],
                [
                    *self._db.queue_args,
                    shard,
                    *days,
                    self._db.limits.usage_days,
                    tenant,
                    reservation.agent,
                    token,
                    usage_of(calls).cost_micros,
                    *sums,
                ],
            )
            if reply != "DAY":
                return
            await self._db.now_ms()

    async def today(self) -> str:
        return day_of(await self._db.now_ms())

    async def by_day(self, tenant: str, days: Sequence[str]) -> tuple[UsageRow, ...]:
        check_tenant(tenant)
        places = [(day, shard) for day in days for shard in range(self._db.shards)]
        sums: defaultdict[tuple[str, str, str], Totals] = defaultdict(Totals)
        for start in range(0, len(places), READ_AT_ONCE):
            part = places[start : start + READ_AT_ONCE]
            replies = await self._db.ask(
                [("HGETALL", keys.usage(shard, tenant, day)) for day, shard in part]
            )
            for (day, _), reply in zip(part, replies, strict=True):
                fields = _mapping(reply)
                if fields.pop("tenant", None) != tenant:
                    continue
                for (agent, model), taken in _sums(fields).items():
                    sums[day, agent, model] += taken
        return tuple(
            UsageRow(taken, day=day, agent=agent, model=model)
            for (day, agent, model), taken in sorted(sums.items())
        )

    async def of_session(self, tenant: str, session_id: str) -> tuple[UsageRow, ...]:
        shard = ids.shard_from(session_id, field="session_id")
        key, _ = keys.session(shard, check_tenant(tenant), session_id)
        return await self._of(key, tenant, f"there is no session {session_id}")

    async def of_run(self, tenant: str, run_id: str) -> tuple[UsageRow, ...]:
        shard = ids.shard_from(run_id, field="run_id")
        key = keys.run(shard, check_tenant(tenant), run_id)[0]
        return await self._of(key, tenant, f"there is no run {run_id}")

    async def _of(self, key: str, tenant: str, missing: str) -> tuple[UsageRow, ...]:
        fields: dict[str, str] = {}
        cursor = "0"
        while True:  # other fields are left there: some are not text
            owned, (cursor, part) = await self._db.ask(
                [
                    ("HMGET", key, "tenant", "gone"),
                    ("HSCAN", key, cursor, "MATCH", f"{_USE}\0*", "COUNT", READ_AT_ONCE),
                ]
            )
            if owned != [tenant, None]:
                raise NotFound(missing)
            fields |= _mapping(part)
            if cursor == "0":
                break
        return tuple(
            UsageRow(taken, model=model) for (_, model), taken in sorted(_sums(fields).items())
        )

    async def budgets(self, tenant: str) -> tuple[BudgetState, ...]:
        rules = tuple(self._db.limits.budgets.every(check_tenant(tenant)))
        today, shards = await self.today(), range(self._db.shards)
        replies = await self._db.ask(
            [
                command
                for name, _ in rules
                for shard in shards
                for command in _looks(shard, tenant, name)
            ]
        )
        pairs = iter(zip(replies[::2], replies[1::2], strict=True))
        states: list[BudgetState] = []
        for name, rule in rules:
            found = [next(pairs) for _ in shards]
            spent = sum(_spent(rule, today, fields) for fields, _ in found)
            reserved = sum(int(held or 0) for _, held in found)
            states.append(
                BudgetState(agent=name, rule=rule, spent_micros=spent, reserved_micros=reserved)
            )
        return tuple(states)


def _token(shard: int) -> str:
    """Carries its shard, as ids do."""
    return f"{shard:02x}_{operation_id()}"


def _mapping(reply: Reply) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _sums(fields: Mapping[str, str]) -> dict[tuple[str, str], Totals]:
    """Reads `owner\\0model\\0metric`."""
    found: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, value in fields.items():
        owner, model, metric = name.split("\0")
        found[owner, model][_METRICS[metric]] = int(value)
    return {key: Totals(**numbers) for key, numbers in found.items()}


def _looks(shard: int, tenant: str, name: str) -> tuple[tuple[str, ...], ...]:
    scope = f"\0{tenant}\0{name}"
    periods = (f"{period.value}{scope}" for period in Period)
    return (
        ("HMGET", keys.spend(shard), f"on{scope}", *periods),
        ("HGET", keys.counters(shard), f"reserved{scope}"),
    )


def _spent(rule: BudgetRule, today: str, fields: Sequence[str | None]) -> int:
    """What was spent of a period counts as long as it lasts."""
    on = fields[0] or ""
    spent = dict(zip(Period, fields[1:], strict=True))[rule.period]
    same = {Period.DAY: on >= today, Period.MONTH: on[:7] >= today[:7], Period.TOTAL: True}
    return int(spent or 0) if same[rule.period] else 0
