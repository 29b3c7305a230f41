"""The running of scripts and commands, again when the connection fails; Redis's errors."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.connection import Client, Command, Refusal, Reply
from orchestrator.adapters.redis_state.scripts import every_script, script
from orchestrator.domain.budgets import BudgetRule, Budgets, day_of
from orchestrator.domain.errors import FailedPrecondition, Internal, Unavailable
from orchestrator.ports.state import Limits

Call = tuple[str, Sequence[str], Sequence[str | int]]  # a script's name, KEYS, ARGV

PATIENCE_S = 5.0  # a restart of the server on the same machine fits in
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5
OLDEST_SERVER = (7, 0)
_PASSING = ("LOADING", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN")
_TAKES_NO_WRITES = ("OOM", "MISCONF", "NOREPLICAS")
_CREDENTIALS = ("NOAUTH", "WRONGPASS", "NOPERM")
_HALF_A_DAY_MS = 43_200_000


@dataclass(slots=True)
class ServerClock:
    """How far the server's clock is ahead of ours."""

    ahead_ms: int = 0

    def learn(self, server_ms: int) -> None:
        self.ahead_ms = server_ms - time.time_ns() // 1_000_000

    def days(self) -> tuple[str, str]:
        """Two days next to each other, of which one is the server's today: a script needs the
        names of its keys before it knows the time. They are right up to half a day of error.
        """
        now_ms = time.time_ns() // 1_000_000 + self.ahead_ms
        return day_of(now_ms - _HALF_A_DAY_MS), day_of(now_ms + _HALF_A_DAY_MS)


@dataclass(frozen=True)
class Database:
    """Everything an operation needs. Every operation may be repeated when a reply is lost."""

    client: Client
    url: str
    shards: int
    limits: Limits
    clock: ServerClock = field(default_factory=ServerClock)

    @cached_property
    def budget_args(self) -> tuple[str, ...]:
        """The rules of each shard, as `_budget.lua` reads them; empty: there are none."""
        budgets = self.limits.budgets
        shards = range(self.shards) if budgets else ()
        return tuple(_rules(budgets.parts(shard, self.shards)) for shard in shards)

    def budgets_of(self, shard: int) -> str:
        return self.budget_args[shard] if self.budget_args else ""

    @cached_property
    def queue_args(self) -> tuple[int, str]:
        """ARGV[1..2] of the scripts that need `_queue`; the shard follows."""
        weights = dict(self.limits.weights)
        return self.limits.running_items, json.dumps(weights) if weights else ""

    async def call(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Reply:
        """Runs a script."""
        return (await self.call_each([(name, keys, args)]))[0]

    async def call_each(self, calls: Sequence[Call]) -> list[Reply]:
        """Runs scripts in one round trip."""
        return await self.ask(
            [
                ("EVALSHA", script(name).sha, len(names), *names, *args)
                for name, names, args in calls
            ]
        )

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Sends commands that may be repeated, in one round trip, for `PATIENCE_S` at most.

        Raises:
            Unavailable: STORE_UNAVAILABLE.
        """
        until = time.monotonic() + PATIENCE_S
        pause = FIRST_PAUSE_S
        while True:
            failed: Exception
            try:
                replies = await self.client.execute(commands)
                refused = next((r for r in replies if isinstance(r, Refusal)), None)
                if refused is None:
                    return replies
                failed = refused
            except (OSError, Refusal) as error:
                failed = error
            if isinstance(failed, Refusal) and failed.code == "NOSCRIPT":
                await self.load()
                continue
            if isinstance(failed, Refusal) and failed.code not in _PASSING:
                raise _translated(failed) from failed
            if time.monotonic() + pause > until:
                raise Unavailable(
                    "the state store does not answer", reason="STORE_UNAVAILABLE"
                ) from failed
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def now_ms(self) -> int:
        ((seconds, micros),) = await self.ask([("TIME",)])
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        self.clock.learn(now_ms)
        return now_ms

    async def put_if_new(self, key: str, value: str, *, ttl_s: int | None = None) -> str | None:
        """Returns the value that was there before, which stays."""
        expiry = () if ttl_s is None else ("EX", ttl_s)
        (before,) = await self.ask([("SET", key, value, "NX", "GET", *expiry)])
        return None if before is None else str(before)

    async def load(self) -> None:
        """Gives the server every script."""
        await self.ask([("SCRIPT", "LOAD", each.source) for each in every_script()])

    async def check(self) -> None:
        """Checks the server's version and that others use as many shards.

        Raises:
            FailedPrecondition: it is too old, or another number is in use.
        """
        (info,) = await self.ask([("INFO", "server")])
        lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        version = lines["redis_version"]
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise FailedPrecondition(f"the Redis server is {version}; it must be 7.0 or newer")
        await self.now_ms()
        before = await self.put_if_new(keys.LAYOUT, str(self.shards))
        if before not in (None, str(self.shards)):
            raise FailedPrecondition(
                f"this Redis holds a state of {before} shards, but redis.shards is {self.shards}: "
                f"set it to {before}, or begin with an empty Redis"
            )


def _rules(budgets: Budgets) -> str:
    rules: dict[str, Any] = {
        "t": {name: _rule(rule) for name, rule in budgets.tenants.items()},
        "a": {name: _rule(rule) for name, rule in budgets.agents.items()},
    }
    if budgets.default is not None:
        rules["d"] = _rule(budgets.default)
    return json.dumps(rules)


def _rule(rule: BudgetRule) -> tuple[int, str]:
    return rule.limit_micros, rule.period.value


def _translated(refusal: Refusal) -> Exception:
    text = str(refusal)[:200]
    if refusal.code in _TAKES_NO_WRITES:
        return Unavailable(
            f"the state store takes no writes now: {text}", reason="STORE_UNAVAILABLE"
        )
    if refusal.code in _CREDENTIALS:
        return FailedPrecondition(f"the state store refuses the credentials of its URL: {text}")
    return Internal(f"the state store refused an operation: {text}")
