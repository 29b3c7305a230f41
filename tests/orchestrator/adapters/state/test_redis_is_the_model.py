"""Redis compared with the memory adapter, operation by operation.

Both are asked the same, Redis first, through a proxy that now and then loses a reply. The
model's clock follows the server's: what is delayed is so for a millisecond, which is over
before the next operation, or for an hour, which never ends.
"""

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
from orchestrator.adapters.redis_state.scripts import every_script
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.errors import FleetError
from orchestrator.domain.events import TextDelta
from orchestrator.domain.interrupts import Answer, Answered, Approved, Denied
from orchestrator.domain.machine import CancelRequested, Event, Failed, advance
from orchestrator.domain.runs import BusyPolicy, CallOutcome, ModelCall, Run, RunError, RunState
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.ledger import Reservation
from orchestrator.ports.state import Limits, State, Versioned
from tests.orchestrator.adapters.state import given
from tests.orchestrator.adapters.state.proxy import Proxy

T = TypeVar("T")
LIMITS = Limits(
    max_attempts=3,
    live_runs=20,
    waiting_runs=2,
    running_items=4,
    events=40,
    weights={"gold": 2.5},
    budgets=Budgets(
        tenants={
            "gold": BudgetRule(limit_micros=2_000, period=Period.MONTH),
            "tin:plate": BudgetRule(limit_micros=900, period=Period.TOTAL),
        },
        # So large that it never makes an item wait: how long that does is drawn at random.
        agents={"acme/assistant": BudgetRule(limit_micros=10**12, period=Period.TOTAL)},
    ),
)
TENANTS = ("acme", "gold", "tin:plate")
_ID = re.compile(r"(?:run|ses)_[0-9a-z_]+")
# A repeated reap or removal says less than the first; tests of their own look at them.
REPEATED = sorted({s.name for s in every_script()} - {"reap", "remove_dead"})
picks = st.integers(0, 1_000)
delays = st.sampled_from([0, 1, given.LONG_MS])
outcomes = st.integers(0, 6)
calls = st.lists(
    st.builds(
        given.called,
        st.integers(0, 300),
        st.sampled_from(["llm_small", "llm_large"]),
        st.sampled_from(CallOutcome),
    ),
    max_size=3,
).map(tuple)
changes: list[st.SearchStrategy[Event]] = [
    st.builds(CancelRequested, calls),
    st.builds(
        Failed,
        st.just(RunError(reason="DEADLINE", message="too late")),
        calls,
        dead_letter=st.booleans(),
    ),
]
answers: st.SearchStrategy[Answer] = st.sampled_from(
    [Approved(), Denied(reason="no"), Answered(content="yes")]
)


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
        self.reads: list[Two] = []
        self.reservations: list[Two] = []
        self.requests = 0
        self.model, self.redis = self.runner.run(self._open())

    async def _open(self) -> tuple[State, State]:
        async with Redis.from_url(self.url) as client:
            await client.flushdb()
        model = await self.stack.enter_async_context(
            open_memory_state(limits=LIMITS, now_ms=lambda: self.clock_ms)
        )
        self.proxy = await self.stack.enter_async_context(Proxy(self.url))
        self.admin = await self.stack.enter_async_context(Redis.from_url(self.url))
        redis = await self.stack.enter_async_context(
            open_redis_state(self.proxy.url, shards=1, limits=LIMITS)
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
        redis = self.runner.run(self._then_time(operation(self.redis, 1)))
        model = self.runner.run(_outcome(operation(self.model, 0)))
        self.learn(model, redis)
        assert self.plain(redis) == self.plain(model)
        return None if isinstance(model, FleetError) else Two(model, redis)

    async def _then_time(self, operation: Awaitable[Any]) -> Any:
        found = await _outcome(operation)
        if isinstance(found, tuple) and found and isinstance(found[0], Claim):
            self.clock_ms = found[0].now_ms
        else:
            self.clock_ms = await self._time_ms()
        return found

    async def _time_ms(self) -> int:
        seconds, micros = await self.admin.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def before_next(self) -> None:
        """What was delayed for a millisecond is due at the next operation."""
        self.runner.run(self._wait())

    async def _wait(self) -> None:
        begun_ms = await self._time_ms()
        while await self._time_ms() < begun_ms + 3:  # noqa: ASYNC110 - a clock wakes nobody
            await asyncio.sleep(0.001)

    def learn(self, model: Any, redis: Any) -> None:
        if isinstance(model, Run) and isinstance(redis, Run):
            self.names[redis.run_id] = model.run_id
            self.names[redis.session_id] = model.session_id

    def plain(self, value: Any) -> str:
        """Text of a value in the model's ids, without times and nonces."""
        text = _text(value)
        text = _ID.sub(lambda found: self.names.get(found[0], found[0]), text)
        text = re.sub(r'"(\w+_ms)": ?[\d.]+', r'"\1":0', text)
        text = re.sub(r"int_[0-9a-f]{32}", "int", text)
        text = re.sub(r"token='[^']*'", "token=''", text)
        return re.sub(r'"(nonce|entry_id)": ?"[^"]*"', r'"\1":""', text)

    def pick(self, options: list[Two], number: int) -> Two | None:
        return options[number % len(options)] if options else None

    @rule(
        tenant=st.sampled_from(TENANTS),
        policy=st.sampled_from(BusyPolicy),
        priority=st.integers(0, 1),
        into=st.none() | picks,
        timeout_ms=delays,
    )
    def submit(
        self, tenant: str, policy: BusyPolicy, priority: int, into: int | None, timeout_ms: int
    ) -> None:
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
                timeout_ms=timeout_ms,
            )

        self.started(operation)

    def started(self, operation: Callable[[State, int], Awaitable[Run]]) -> None:
        made = self.both(operation)
        if made:
            self.runs.append(made)
            self.before_next()

    @rule(number=picks)
    def start_child(self, number: int) -> None:
        claim = self.pick([c for c in self.claims if c.model.lease.item.call], number)
        if claim is not None:
            self.requests += 1
            request = f"r{self.requests}"
            self.started(lambda state, side: given.child_of(state, _side(claim, side), request))

    @rule(number=picks, child=picks)
    def wait_for_child(self, number: int, child: int) -> None:
        """The claim's own child or any other run."""
        claim = self.pick([c for c in self.claims if c.model.lease.item.call], number)
        if claim is None:
            return
        own = [r for r in self.runs if _parent_item(r) == claim.model.lease.item.key]
        run = self.pick(own or self.runs, child)
        assert run

        async def operation(state: State, side: int) -> None:
            mine = await state.runs.refresh(_side(claim, side))
            await state.runs.commit(mine, given.waits_for(_side(run, side), mine))

        self.both(operation)
        self.before_next()

    @rule(
        tenant=st.sampled_from(TENANTS),
        priorities=st.lists(st.integers(0, 1), min_size=2, max_size=8),
    )
    def flood(self, tenant: str, priorities: list[int]) -> None:
        for priority in priorities:
            self.submit(tenant, BusyPolicy.REJECT, priority, None, 0)

    @rule(
        kind=st.sampled_from(WorkKind),
        outcomes=st.lists(st.tuples(outcomes, st.integers(0, 900), delays), max_size=8),
    )
    def work(self, kind: WorkKind, outcomes: list[tuple[int, int, int]]) -> None:
        for how, tokens, ttl_ms in outcomes:
            before = len(self.claims)
            self.claim(kind, 1, expired=False)
            if len(self.claims) > before:
                self.commit(number=before, how=how, tokens=tokens, ttl_ms=ttl_ms, fresh=True)

    @rule(number=picks)
    def submit_again(self, number: int) -> None:
        run = self.pick(self.runs, number)
        if run:
            self.both(lambda state, side: given.resubmitted(state, _side(run, side)))

    @rule(
        kind=st.sampled_from(WorkKind),
        limit=st.integers(1, 4),
        expired=st.booleans(),
        reserve_micros=st.sampled_from([0, 1, 300, 5_000]),
    )
    def claim(self, kind: WorkKind, limit: int, expired: bool, reserve_micros: int = 0) -> None:
        lease_ms = 0 if expired else given.LONG_MS

        async def operation(state: State, side: int) -> Sequence[Claim]:
            return await given.claimed(
                state,
                kind,
                limit=limit,
                lease_ms=lease_ms,
                history=3,
                reserve_micros=reserve_micros,
            )

        found = self.both(operation)
        assert found
        self.claims += [Two(*pair) for pair in zip(found.model, found.redis, strict=True)]

    @rule(
        number=picks,
        how=outcomes,
        tokens=st.integers(0, 900),
        ttl_ms=delays,
        fresh=st.booleans(),
        emitted=st.lists(st.text(max_size=3), max_size=2),
    )
    def commit(
        self,
        *,
        number: int,
        how: int,
        tokens: int,
        ttl_ms: int,
        fresh: bool,
        emitted: Sequence[str] = (),
    ) -> None:
        claim = self.pick(self.claims, number)
        if claim is None:
            return

        async def operation(state: State, side: int) -> None:
            mine = _side(claim, side)
            if fresh:
                mine = await state.runs.refresh(mine)
            moved = given.some_outcome(mine, how, tokens, ttl_ms)
            await state.runs.commit(mine, moved, emitted=[TextDelta(text=t) for t in emitted])

        self.both(operation)
        self.before_next()

    @rule(number=picks, delay_ms=delays, counts=st.booleans())
    def release(self, number: int, delay_ms: int, counts: bool) -> None:
        claim = self.pick(self.claims, number)
        if claim is not None:
            self.both(
                lambda state, side: state.runs.release(
                    _side(claim, side).lease, delay_ms=delay_ms, counts=counts
                )
            )
            self.before_next()

    @rule(number=picks)
    def read(self, number: int) -> None:
        run = self.pick(self.runs, number)
        if run:
            read = self.both(lambda state, side: given.read(state, _side(run, side)))
            self.reads += [read] if read else []

    @rule(number=picks, event=st.one_of(changes))
    def change(self, number: int, event: Event) -> None:
        """By what was read before; it may have changed since."""
        read = self.pick(self.reads, number)
        if read is not None:
            self.both(lambda state, side: _changed(state, _side(read, side), event))
            self.before_next()

    @rule(number=picks, which=picks, answer=answers)
    def answer(self, number: int, which: int, answer: Answer) -> None:
        waiting = [r for r in self.runs if _is_interrupted(self, r)]
        run = self.pick(waiting, number)
        if run:
            self.both(
                lambda state, side: given.resumed(state, _side(run, side), answer, number=which % 2)
            )
            self.before_next()

    @rule()
    def overdue(self) -> None:
        """Redis looks at a run that is worked on only now and then, so: when nobody works."""
        if self.runner.run(_is_working(self.model)):
            return

        async def operation(state: State, side: int) -> list[str]:
            late = await state.runs.overdue(limit=100)
            return sorted(self.plain(found.run) for found in late)

        self.both(operation)

    @rule(kind=st.sampled_from(WorkKind))
    def loads(self, kind: WorkKind) -> None:
        self.both(lambda state, side: state.runs.loads(kind))

    @rule(name=st.sampled_from(REPEATED))
    def lose_a_reply(self, name: str) -> None:
        self.proxy.lose_one_reply_of(name)

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

    @rule(
        tenant=st.sampled_from(TENANTS),
        agent=st.sampled_from(["", "assistant"]),
        micros=st.sampled_from([0, 100, 1_000]),
        expired=st.booleans(),
    )
    def reserve(self, tenant: str, agent: str, micros: int, expired: bool) -> None:
        ttl_s = 0 if expired else 3_600.0

        async def operation(state: State, side: int) -> Reservation:
            return await state.ledger.reserve(tenant, agent, micros, ttl_s=ttl_s)

        made = self.both(operation)
        if made:
            self.reservations.append(made)

    @rule(number=picks, calls=calls)
    def settle(self, number: int, calls: tuple[ModelCall, ...]) -> None:
        reservation = self.pick(self.reservations, number)
        if reservation:
            self.both(lambda state, side: state.ledger.settle(_side(reservation, side), calls))

    @rule()
    def reap(self) -> None:
        self.before_next()
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
            self.both(lambda state, side, tenant=tenant: given.bill(state, tenant))  # type: ignore[misc]


async def _is_working(state: State) -> bool:
    loads = [await state.runs.loads(kind) for kind in WorkKind]
    return any(load.running for each in loads for load in each)


def _parent_item(run: Two) -> str:
    return run.model.parent.item_key if run.model.parent else ""


def _is_interrupted(machine: Comparison, run: Two) -> bool:
    found = machine.runner.run(_outcome(machine.model.runs.get(run.model.tenant, run.model.run_id)))
    return isinstance(found, Run) and found.state is RunState.INTERRUPTED


async def _changed(state: State, read: Versioned, event: Event) -> None:
    await state.runs.change(advance(read.run, event), version=read.version)


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
    if isinstance(value, Versioned):
        return f"{_text(value.run)} {value.version}"
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
