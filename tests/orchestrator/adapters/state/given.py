"""Runs and claims to begin a test with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import TypeVar

from orchestrator.domain.errors import FleetError, OutOfRange
from orchestrator.domain.events import Payload, RunEvent
from orchestrator.domain.interrupts import Answer, InterruptKind
from orchestrator.domain.machine import (
    CancelRequested,
    Failed,
    InferenceFinished,
    InterruptExpired,
    Resumed,
    Submitted,
    SubRunOpened,
    ToolFinished,
    ToolOutcomeUnknown,
    Transition,
    advance,
)
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import (
    BusyPolicy,
    CallOutcome,
    ModelCall,
    Parent,
    Run,
    RunError,
    StepRecord,
    Usage,
)
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import State, Versioned

T = TypeVar("T")
TENANT = "acme"
LONG_MS = 3_600_000
CALLS = (
    ToolCall(call_id="c0", name="calculator", arguments_json='{"expression": "1+1"}'),
    ToolCall(call_id="c1", name="lookup", arguments_json='{"key": "A1042"}'),
)


async def submitted(
    state: State,
    text: str = "hi",
    *,
    tenant: str = TENANT,
    session_id: str = "",
    policy: BusyPolicy = BusyPolicy.REJECT,
    priority: int = 0,
    request_id: str = "",
    timeout_ms: int = 0,
    parent: Parent | None = None,
) -> Run:
    """Accepts a run; without a session id in a session of its own."""
    known = await state.runs.register(
        tenant,
        request_id or text,
        fingerprint=text,
        session_id=session_id,
        near=parent.run_id if parent else "",
    )
    run = Run(
        run_id=known.run_id,
        tenant=tenant,
        session_id=known.session_id,
        agent="assistant@1",
        input=text,
        busy_policy=policy,
        priority=priority,
        timeout_ms=timeout_ms,
        parent=parent,
    )
    await state.runs.submit(advance(run, Submitted()), session_labels={"k": "v"})
    return run


async def child_of(state: State, claim: Claim, text: str = "child") -> Run:
    """Accepts a run that answers the claimed tool call, in a session of its own."""
    parent = Parent(run_id=claim.run.run_id, item_key=claim.lease.item.key, depth=1)
    return await submitted(state, text, tenant=claim.run.tenant, parent=parent)


async def resubmitted(state: State, run: Run) -> bool:
    return await state.runs.submit(advance(run, Submitted()), session_labels={})


async def cancelled(state: State, run: Run) -> Run:
    return await state.runs.cancel(run.tenant, run.run_id)


async def deleted(state: State, run: Run) -> None:
    await state.sessions.delete(run.tenant, run.session_id)


async def claimed(
    state: State,
    kind: WorkKind = WorkKind.REASON,
    *,
    limit: int = 1,
    lease_ms: int = LONG_MS,
    history: int = 0,
    reserve_micros: int = 0,
) -> tuple[Claim, ...]:
    return await state.runs.claim(
        kind,
        worker="w",
        limit=limit,
        lease_ms=lease_ms,
        history=history,
        reserve_micros=reserve_micros,
    )


async def claim_one(
    state: State, kind: WorkKind = WorkKind.REASON, *, lease_ms: int = LONG_MS
) -> Claim:
    (claim,) = await claimed(state, kind, lease_ms=lease_ms)
    return claim


def answer(claim: Claim, text: str = "hello", tokens: int = 15) -> Transition:
    return _inferred(claim, text, (), tokens)


def asks_for_tools(
    claim: Claim,
    calls: tuple[ToolCall, ...] = CALLS,
    *,
    gates: Mapping[str, InterruptKind] | None = None,
    ttl_ms: int = LONG_MS,
) -> Transition:
    return _inferred(claim, "", calls, 15, gates=gates, ttl_ms=ttl_ms)


def _inferred(
    claim: Claim,
    text: str,
    calls: tuple[ToolCall, ...],
    tokens: int,
    *,
    gates: Mapping[str, InterruptKind] | None = None,
    ttl_ms: int = LONG_MS,
) -> Transition:
    record = StepRecord(
        step=claim.run.step,
        attempt=claim.lease.attempt,
        model="llm_small",
        finish_reason="tool_calls" if calls else "stop",
        calls=(called(tokens),),
    )
    event = InferenceFinished(
        text=text, tool_calls=calls, record=record, gates=gates or {}, interrupt_ttl_ms=ttl_ms
    )
    return advance(claim.run, event)


def called(
    tokens: int, model: str = "llm_small", outcome: CallOutcome = CallOutcome.USED
) -> ModelCall:
    """A call that cost a micro-unit for each token of its prompt."""
    return ModelCall(
        model=model, outcome=outcome, usage=Usage(prompt_tokens=tokens, cost_micros=tokens)
    )


def call_id(claim: Claim) -> str:
    assert claim.lease.item.call is not None
    return claim.lease.item.call.call_id


def waits_for(child: Run, claim: Claim) -> Transition:
    """The claimed call is a run of another agent."""
    return advance(claim.run, SubRunOpened(call_id(claim), child.run_id, child.agent))


async def with_tools(
    state: State,
    text: str = "hi",
    *,
    calls: tuple[ToolCall, ...] = CALLS[:1],
    gates: Mapping[str, InterruptKind] | None = None,
    ttl_ms: int = LONG_MS,
    timeout_ms: int = 0,
) -> Run:
    """Accepts a run and has its first step ask for tools."""
    run = await submitted(state, text, timeout_ms=timeout_ms)
    claim = await claim_one(state)
    await state.runs.commit(claim, asks_for_tools(claim, calls, gates=gates, ttl_ms=ttl_ms))
    return run


async def read(state: State, run: Run) -> Versioned:
    return await state.runs.read(run.tenant, run.run_id)


async def resumed(state: State, run: Run, answer: Answer, *, number: int = 0) -> None:
    """Answers an interrupt that the run waits for."""
    now = await state.runs.read(run.tenant, run.run_id)
    open_ids = [p.interrupt.interrupt_id for p in now.run.pending if p.interrupt]
    interrupt_id = open_ids[number] if number < len(open_ids) else "none"
    moved = advance(now.run, Resumed(interrupt_id, answer))
    await state.runs.change(moved, version=now.version)


async def committed(state: State, claim: Claim, decide: Callable[[Claim], Transition]) -> None:
    """Commits what is decided about the run as it is now."""
    fresh = await state.runs.refresh(claim)
    await state.runs.commit(fresh, decide(fresh))


async def eventually(look: Callable[[], Awaitable[T]], *, within_s: float = 10.0) -> T:
    """Looks again until there is something."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110 - the store's clock wakes nobody
            await asyncio.sleep(0.002)
    return found


async def a_moment(state: State) -> None:
    """Returns when the store's clock has gone on."""
    before = await state.sessions.create("clock", agent="", labels={})

    async def later() -> bool:
        now = await state.sessions.create("clock", agent="", labels={})
        return now.created_ms > before.created_ms

    await eventually(later)


def tool_result(claim: Claim, content: str = "2") -> Transition:
    return advance(claim.run, ToolFinished(call_id(claim), True, content, 1.0))


def failure(claim: Claim, *, dead_letter: bool = False) -> Transition:
    error = RunError(reason="TOOL", message="broken")
    return advance(claim.run, Failed(error, dead_letter=dead_letter))


def some_outcome(claim: Claim, how: int, tokens: int, ttl_ms: int) -> Transition:
    """An outcome that fits the claim; `how` is 0 to 6."""
    if how == 0:
        return failure(claim, dead_letter=tokens % 2 == 0)
    if how == 1:
        return advance(claim.run, CancelRequested())
    if claim.lease.item.kind is WorkKind.TOOL:
        return _tool_outcome(claim, how, tokens, ttl_ms)
    if how == 2:
        return _inferred(claim, "so", (), tokens)
    gates = {} if how > 4 else {"c0": InterruptKind.APPROVAL, "c1": InterruptKind.REPLY}
    calls = CALLS[: 2 - how % 2]
    return _inferred(claim, "", calls, tokens, gates=gates, ttl_ms=ttl_ms)


def _tool_outcome(claim: Claim, how: int, tokens: int, ttl_ms: int) -> Transition:
    call = call_id(claim)
    if any(p.call.call_id == call and p.interrupt for p in claim.run.pending):
        return advance(claim.run, InterruptExpired(call))
    if how == 2:
        return advance(claim.run, ToolOutcomeUnknown(call, "cut off", ttl_ms))
    handover = "expert@2" if how == 3 else ""
    return advance(claim.run, ToolFinished(call, True, str(tokens), 1.0, handover=handover))


async def views(state: State, run: Run) -> tuple[object, ...]:
    """All that can be read of a run and its session."""
    return (
        await _or_refusal(state.runs.get(run.tenant, run.run_id)),
        await _or_refusal(state.runs.steps(run.tenant, run.run_id)),
        await _or_refusal(_events(state, run)),
        await _or_refusal(state.sessions.get(run.tenant, run.session_id)),
        await _or_refusal(state.sessions.messages(run.tenant, run.session_id)),
        await _or_refusal(state.ledger.of_run(run.tenant, run.run_id)),
        await _or_refusal(state.ledger.of_session(run.tenant, run.session_id)),
    )


async def listings(state: State, tenant: str) -> tuple[object, ...]:
    runs = await state.runs.list(tenant, session_id="", limit=100, token="")
    sessions = await state.sessions.list(tenant, limit=100, token="")
    dead = await state.dead_letters.list(tenant, limit=100, token="")
    return (*runs.items, *sessions.items, *dead.items)


async def bill(state: State, tenant: str) -> tuple[object, ...]:
    """All that can be read of the tenant's ledger but the days."""
    rows = await state.ledger.by_day(tenant, await days(state))
    totals = tuple((row.agent, row.model, row.totals) for row in rows)
    return (totals, *(await state.ledger.budgets(tenant)))


async def days(state: State) -> tuple[str, ...]:
    """Today and, should it be about midnight, its neighbours."""
    today = date.fromisoformat(await state.ledger.today())
    return tuple((today + timedelta(days=n)).isoformat() for n in (-1, 0, 1))


async def payloads(state: State, run: Run) -> list[Payload]:
    """The run's events, without a gap from the first on."""
    events = await state.feed.read(run.tenant, run.run_id, after_seq=0, limit=1000)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    return [e.payload for e in events]


async def _events(state: State, run: Run) -> tuple[RunEvent, ...]:
    try:
        return await state.feed.read(run.tenant, run.run_id, after_seq=0, limit=100)
    except OutOfRange as error:
        after = int(error.metadata["earliest_seq"]) - 1
        return await state.feed.read(run.tenant, run.run_id, after_seq=after, limit=100)


async def _or_refusal(reading: Awaitable[object]) -> object:
    try:
        return await reading
    except FleetError as error:
        return error
