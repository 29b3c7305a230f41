"""The ledger's sums, on both adapters: each committed call once, in every sum it belongs to."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.errors import FleetError, NotFound
from orchestrator.domain.machine import (
    CancelRequested,
    Event,
    Failed,
    InferenceFinished,
    advance,
)
from orchestrator.domain.runs import CallOutcome, ModelCall, Run, RunError, StepRecord, Usage
from orchestrator.domain.usage import Totals, totals_of
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state import given
from tests.orchestrator.adapters.state.conftest import Open

picks = st.integers(0, 1_000)
calls = st.lists(
    st.builds(
        ModelCall,
        model=st.sampled_from(["llm_small", "llm_large"]),
        outcome=st.sampled_from(CallOutcome),
        usage=st.builds(
            Usage,
            prompt_tokens=st.integers(0, 10**6),
            cached_prompt_tokens=st.integers(0, 10**6),
            completion_tokens=st.integers(0, 10**6),
            cost_micros=st.integers(0, 2**53 - 1),
        ),
    ),
    max_size=3,
).map(tuple)


class Accounting(RuleBasedStateMachine):
    """Work with runs and their children as it comes; every commit that counted is noted."""

    open_state: Open
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self._emptied())
        self.stack = AsyncExitStack()
        self.state: State = self.runner.run(
            self.stack.enter_async_context(self.open_state(Limits(max_attempts=2)))
        )
        self.day = self.runner.run(given.days(self.state))
        self.tenant = given.TENANT
        self.runs: list[Run] = []
        self.claims: list[Claim] = []
        self.calls: dict[str, list[ModelCall]] = {}
        self.answers: dict[str, tuple[ModelCall, ...]] = {}

    async def _emptied(self) -> None:
        async with Redis.from_url(self.url) as client:
            await client.flushdb()

    def teardown(self) -> None:
        try:
            self.adds_up()
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    def done(self, operation: Any) -> bool:
        """Whether it was not refused."""
        try:
            self.runner.run(operation)
        except FleetError:
            return False
        return True

    def pick(self, number: int) -> Claim | None:
        return self.claims[number % len(self.claims)] if self.claims else None

    @rule(number=picks, of_a_call=st.booleans(), into=st.booleans())
    def submit(self, number: int, of_a_call: bool, into: bool) -> None:
        claim = self.pick(number)
        if of_a_call and claim and claim.lease.item.call:
            run = self.runner.run(given.child_of(self.state, claim, f"r{len(self.runs)}"))
        else:
            session = self.runs[number % len(self.runs)].session_id if into and self.runs else ""
            submitting = given.submitted(
                self.state, f"r{len(self.runs)}", tenant=self.tenant, session_id=session
            )
            try:
                run = self.runner.run(submitting)
            except FleetError:
                return
        self.runs.append(run)
        self.calls[run.run_id] = []

    @rule(kind=st.sampled_from(WorkKind), expired=st.booleans())
    def claim(self, kind: WorkKind, expired: bool) -> None:
        lease_ms = 0 if expired else given.LONG_MS
        self.claims += self.runner.run(
            given.claimed(self.state, kind, limit=3, lease_ms=lease_ms, reserve_micros=5)
        )

    @rule(number=picks, taken=calls, how=st.integers(0, 3), twice=st.booleans())
    def commit(self, number: int, taken: tuple[ModelCall, ...], how: int, twice: bool) -> None:
        """Also of leases that are not held any more, and of runs that have ended."""
        claim = self.pick(number)
        if claim is None or claim.lease.item.kind is not WorkKind.REASON:
            return
        nonce, run_id = claim.lease.nonce, claim.run.run_id
        for _ in range(1 + twice):
            done = self.done(given.committed(self.state, claim, lambda c: _moved(c, taken, how)))
            if done and nonce not in self.answers:
                self.answers[nonce] = taken
                self.calls[run_id] += taken

    @rule(number=picks)
    def answer_a_call(self, number: int) -> None:
        claim = self.pick(number)
        if claim and claim.lease.item.call:
            self.done(given.committed(self.state, claim, given.tool_result))

    @rule(number=picks, counts=st.booleans())
    def release(self, number: int, counts: bool) -> None:
        claim = self.pick(number)
        if claim:
            self.done(self.state.runs.release(claim.lease, counts=counts))

    @rule(number=picks)
    def cancel(self, number: int) -> None:
        if self.runs:
            self.done(given.cancelled(self.state, self.runs[number % len(self.runs)]))

    @rule()
    def reap(self) -> None:
        self.runner.run(self.state.runs.reap(limit=100))

    @rule(number=picks, taken=calls)
    def change(self, number: int, taken: tuple[ModelCall, ...]) -> None:
        """As a deadline ends a run."""
        if not self.runs:
            return
        run = self.runs[number % len(self.runs)]

        async def operation() -> None:
            read = await given.read(self.state, run)
            event = Failed(RunError(reason="DEADLINE", message="late"), taken)
            await self.state.runs.change(advance(read.run, event), version=read.version)

        if self.done(operation()):
            self.calls[run.run_id] += taken

    @rule()
    def adds_up(self) -> None:
        self.runner.run(self._adds_up())

    async def _adds_up(self) -> None:
        ledger, everything = self.state.ledger, [c for made in self.calls.values() for c in made]
        by_session: dict[str, list[ModelCall]] = {}
        for run in self.runs:
            own = self.calls[run.run_id]
            by_session.setdefault(run.session_id, []).extend(own)
            assert _by_model(await ledger.of_run(self.tenant, run.run_id)) == totals_of(own)
        for session_id, made in by_session.items():
            told = await ledger.of_session(self.tenant, session_id)
            assert _by_model(told) == totals_of(made)
        rows = await ledger.by_day(self.tenant, self.day)
        assert _by_model(rows) == totals_of(everything)
        assert {row.agent for row in rows} <= {"assistant"}


def _by_model(rows: Any) -> dict[str, Totals]:
    return {row.model: row.totals for row in rows}


def _moved(claim: Claim, taken: tuple[ModelCall, ...], how: int) -> Any:
    record = StepRecord(step=claim.run.step, attempt=1, model="m", finish_reason="s", calls=taken)
    events: list[Event] = [
        InferenceFinished("so", (), record),
        InferenceFinished("", given.CALLS, record),
        Failed(RunError(reason="TOOL", message="broken"), taken, dead_letter=True),
        CancelRequested(taken),
    ]
    return advance(claim.run, events[how])


def test_every_sum_is_that_of_its_committed_calls(open_state: Open, redis_url: str) -> None:
    Accounting.open_state, Accounting.url = staticmethod(open_state), redis_url
    run_state_machine_as_test(
        Accounting,
        settings=settings(
            max_examples=30,
            phases=(Phase.explicit, Phase.generate),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def test_sums_beyond_2_to_the_53_are_exact(state: State) -> None:
    large = 2**53 - 1
    for number in range(3):
        await given.submitted(state, f"r{number}")
        claim = await given.claim_one(state)
        await state.runs.commit(claim, given.answer(claim, tokens=large))
    (row,) = await state.ledger.by_day(given.TENANT, await given.days(state))
    assert row.totals.prompt_tokens == row.totals.cost_micros == 3 * large


async def test_what_nobody_can_have_used_is_refused_and_writes_nothing(redis_url: str) -> None:
    async with open_redis_state(redis_url) as state:
        run = await given.submitted(state)
        claim = await given.claim_one(state)
        with pytest.raises(FleetError, match="each has to be 0 to 9007199254740991"):
            await state.runs.commit(claim, given.answer(claim, tokens=2**53))
        assert await state.ledger.of_run(given.TENANT, run.run_id) == ()
        await state.runs.commit(claim, given.answer(claim))


async def test_the_sums_of_another_tenant_are_not_to_be_had(state: State) -> None:
    run = await given.submitted(state)
    claim = await given.claim_one(state)
    await state.runs.commit(claim, given.answer(claim))
    assert await state.ledger.by_day("other", await given.days(state)) == ()
    for reading in (
        state.ledger.of_run("other", run.run_id),
        state.ledger.of_session("other", run.session_id),
    ):
        with pytest.raises(NotFound):
            await reading


async def test_a_day_is_kept_for_as_long_as_is_set_up(open_state: Open, redis_url: str) -> None:
    async with open_state(Limits(usage_days=2)) as state:
        await given.submitted(state)
        claim = await given.claim_one(state)
        await state.runs.commit(claim, given.answer(claim))
        async with Redis.from_url(redis_url, decode_responses=True) as admin:
            left = [await admin.ttl(key) async for key in admin.scan_iter("*usage:*")]
    assert all(2 * 86_400 - 60 < seconds <= 3 * 86_400 for seconds in left)
