"""Redis compared with the memory adapter, operation by operation."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from pydantic import BaseModel
from redis.asyncio import Redis

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.errors import FleetError
from orchestrator.domain.events import TextDelta
from orchestrator.domain.runs import BusyPolicy, Run
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state import given

T = TypeVar("T")
LIMITS = Limits(
    max_attempts=3, live_runs=20, waiting_runs=2, running_items=4, events=40, weights={"gold": 2.5}
)
TENANTS = ("acme", "gold", "tin:plate")
_ID = re.compile(r"(?:run|ses)_[0-9a-z_]+")
picks = st.integers(0, 1_000)


@dataclass
class Two:
    """What each of the two returned."""

    model: Any
    redis: Any


class Comparison(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock_ms = time.time_ns() // 1_000_000
        self.names: dict[str, str] = {}
        self.runs: list[Two] = []
        self.claims: list[Two] = []
        self.requests = 0
        self.model, self.redis = self.runner.run(self._open())

    async def _open(self) -> tuple[State, State]:
        async with Redis.from_url(self.url) as client:
            await client.flushdb()
        model = await self.stack.enter_async_context(
            open_memory_state(limits=LIMITS, now_ms=lambda: self.clock_ms)
        )
        redis = await self.stack.enter_async_context(
            open_redis_state(self.url, shards=1, limits=LIMITS)
        )
        return model, redis

    def teardown(self) -> None:
        try:
            self.look()
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    def both(self, operation: Callable[[State, int], Awaitable[Any]]) -> Two | None:
        """Runs it on both; None when both refuse it for the same reason."""
        redis = self.runner.run(_outcome(operation(self.redis, 1)))
        if isinstance(redis, tuple) and redis and isinstance(redis[0], Claim):
            self.clock_ms = min(claim.lease.expires_ms for claim in redis)
        model = self.runner.run(_outcome(operation(self.model, 0)))
        self.learn(model, redis)
        assert self.plain(redis) == self.plain(model)
        return None if isinstance(model, FleetError) else Two(model, redis)

    def learn(self, model: Any, redis: Any) -> None:
        if isinstance(model, Run) and isinstance(redis, Run):
            self.names[redis.run_id] = model.run_id
            self.names[redis.session_id] = model.session_id

    def plain(self, value: Any) -> str:
        """Text of a value in the model's ids, without times and nonces."""
        text = _text(value)
        text = _ID.sub(lambda found: self.names.get(found[0], found[0]), text)
        text = re.sub(r'"(\w+_ms)": ?[\d.]+', r'"\1":0', text)
        return re.sub(r'"nonce": ?"[^"]*"', '"nonce":""', text)

    def pick(self, options: list[Two], number: int) -> Two | None:
        return options[number % len(options)] if options else None

    @rule(
        tenant=st.sampled_from(TENANTS),
        policy=st.sampled_from(BusyPolicy),
        priority=st.integers(0, 1),
        into=st.none() | picks,
    )
    def submit(self, tenant: str, policy: BusyPolicy, priority: int, into: int | None) -> None:
        self.requests += 1
        request = f"r{self.requests}"
        session = self.pick(self.runs, into) if into is not None else None

        async def operation(state: State, side: int) -> Run:
            run = (session.model, session.redis)[side] if session else None
            return await given.submitted(
                state,
                request,
                tenant=run.tenant if run else tenant,
                session_id=run.session_id if run else "",
                policy=policy,
                priority=priority,
            )

        made = self.both(operation)
        if made:
            self.runs.append(made)

    @rule(
        tenant=st.sampled_from(TENANTS),
        priorities=st.lists(st.integers(0, 1), min_size=2, max_size=8),
    )
    def flood(self, tenant: str, priorities: list[int]) -> None:
        for priority in priorities:
            self.submit(tenant, BusyPolicy.REJECT, priority, None)

    @rule(
        kind=st.sampled_from(WorkKind),
        outcomes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 900)), max_size=8),
    )
    def work(self, kind: WorkKind, outcomes: list[tuple[int, int]]) -> None:
        for how, tokens in outcomes:
            before = len(self.claims)
            self.claim(kind, 1, expired=False)
            if len(self.claims) > before:
                self.commit(before, how, tokens, fresh=True)

    @rule(number=picks)
    def submit_again(self, number: int) -> None:
        run = self.pick(self.runs, number)
        if run:
            self.both(lambda state, side: given.resubmitted(state, _side(run, side)))

    @rule(kind=st.sampled_from(WorkKind), limit=st.integers(1, 4), expired=st.booleans())
    def claim(self, kind: WorkKind, limit: int, expired: bool) -> None:
        lease_ms = 0 if expired else given.LONG_MS

        async def operation(state: State, side: int) -> Sequence[Claim]:
            return await given.claimed(state, kind, limit=limit, lease_ms=lease_ms)

        found = self.both(operation)
        assert found
        if expired and found.redis:
            self.clock_ms = found.redis[0].lease.expires_ms
        self.claims += [Two(*pair) for pair in zip(found.model, found.redis, strict=True)]

    @rule(number=picks, how=st.integers(0, 5), tokens=st.integers(0, 900), fresh=st.booleans())
    def commit(self, number: int, how: int, tokens: int, fresh: bool) -> None:
        claim = self.pick(self.claims, number)
        if claim is None:
            return

        async def operation(state: State, side: int) -> None:
            mine = _side(claim, side)
            if fresh:
                mine = await state.runs.refresh(mine)
            await state.runs.commit(mine, given.some_outcome(mine, how, tokens))

        self.both(operation)

    @rule(number=picks, texts=st.lists(st.text(max_size=5), min_size=1, max_size=9))
    def emit(self, number: int, texts: list[str]) -> None:
        claim = self.pick(self.claims, number)
        if claim is not None:
            deltas = [TextDelta(text=text) for text in texts]
            self.both(lambda state, side: state.runs.emit(_side(claim, side).lease, deltas))

    @rule(number=picks)
    def extend(self, number: int) -> None:
        claim = self.pick(self.claims, number)
        if claim is not None:
            self.both(
                lambda state, side: state.runs.extend(
                    [_side(claim, side).lease], lease_ms=given.LONG_MS
                )
            )

    @rule()
    def reap(self) -> None:
        self.clock_ms += 1
        self.both(lambda state, side: state.runs.reap(limit=100))

    @rule(number=picks)
    def cancel(self, number: int) -> None:
        run = self.pick(self.runs, number)
        if run:
            self.both(lambda state, side: given.cancelled(state, _side(run, side)))

    @rule(number=picks)
    def delete_session(self, number: int) -> None:
        run = self.pick(self.runs, number)
        if run:
            self.both(lambda state, side: given.deleted(state, _side(run, side)))

    @rule()
    def look(self) -> None:
        for run in self.runs:
            self.both(lambda state, side, run=run: given.views(state, _side(run, side)))  # type: ignore[misc]
        for tenant in TENANTS:
            self.both(lambda state, side, tenant=tenant: given.listings(state, tenant))  # type: ignore[misc]


def _side(two: Two, side: int) -> Any:
    return (two.model, two.redis)[side]


async def _outcome(operation: Awaitable[T]) -> T | FleetError:
    try:
        return await operation
    except FleetError as error:
        return error


def _text(value: Any) -> str:
    if isinstance(value, FleetError):
        return f"{type(value).__name__} {value.reason} {value.metadata}"
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, tuple | list):
        return "\n".join(map(_text, value))
    return repr(value)


def test_redis_does_what_the_model_does(redis_url: str) -> None:
    Comparison.url = redis_url
    run_state_machine_as_test(
        Comparison,
        settings=settings(
            max_examples=40,
            phases=(Phase.explicit, Phase.generate),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
