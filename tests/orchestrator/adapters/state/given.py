"""Runs and claims to begin a test with."""

from __future__ import annotations

from collections.abc import Awaitable

from orchestrator.domain.errors import FleetError, OutOfRange
from orchestrator.domain.events import RunEvent
from orchestrator.domain.machine import (
    Failed,
    InferenceFinished,
    Submitted,
    ToolFinished,
    Transition,
    advance,
)
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import BusyPolicy, Run, RunError, StepRecord, Usage
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import State

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
) -> Run:
    """Accepts a run; without a session id in a session of its own."""
    known = await state.runs.register(
        tenant, request_id or text, fingerprint=text, session_id=session_id
    )
    run = Run(
        run_id=known.run_id,
        tenant=tenant,
        session_id=known.session_id,
        agent="assistant@1",
        input=text,
        busy_policy=policy,
        priority=priority,
    )
    await state.runs.submit(advance(run, Submitted()), session_labels={"k": "v"})
    return run


async def resubmitted(state: State, run: Run) -> bool:
    return await state.runs.submit(advance(run, Submitted()), session_labels={})


async def cancelled(state: State, run: Run) -> Run:
    return await state.runs.cancel(run.tenant, run.run_id)


async def deleted(state: State, run: Run) -> None:
    await state.sessions.delete(run.tenant, run.session_id)


async def claimed(
    state: State, kind: WorkKind = WorkKind.REASON, *, limit: int = 1, lease_ms: int = LONG_MS
) -> tuple[Claim, ...]:
    return await state.runs.claim(kind, worker="w", limit=limit, lease_ms=lease_ms)


async def claim_one(
    state: State, kind: WorkKind = WorkKind.REASON, *, lease_ms: int = LONG_MS
) -> Claim:
    (claim,) = await claimed(state, kind, lease_ms=lease_ms)
    return claim


def answer(claim: Claim, text: str = "hello", tokens: int = 15) -> Transition:
    return _inferred(claim, text, (), tokens)


def asks_for_tools(claim: Claim, calls: tuple[ToolCall, ...] = CALLS) -> Transition:
    return _inferred(claim, "", calls, 15)


def _inferred(claim: Claim, text: str, calls: tuple[ToolCall, ...], tokens: int) -> Transition:
    record = StepRecord(
        step=claim.run.step,
        attempt=claim.lease.attempt,
        model="llm_small",
        finish_reason="tool_calls" if calls else "stop",
        usage=Usage(prompt_tokens=tokens),
    )
    return advance(claim.run, InferenceFinished(text=text, tool_calls=calls, record=record))


def tool_result(claim: Claim, content: str = "2") -> Transition:
    assert claim.lease.item.call is not None
    return advance(claim.run, ToolFinished(claim.lease.item.call.call_id, True, content, 1.0))


def failure(claim: Claim) -> Transition:
    return advance(claim.run, Failed(RunError(reason="TOOL", message="broken")))


def some_outcome(claim: Claim, how: int, tokens: int) -> Transition:
    """An outcome that fits the claim: an answer, tool calls or a failure for a step."""
    if how == 0:
        return failure(claim)
    if claim.lease.item.kind is WorkKind.TOOL:
        return tool_result(claim, str(tokens))
    return _inferred(claim, "so", () if how < 3 else CALLS, tokens)


async def views(state: State, run: Run) -> tuple[object, ...]:
    """All that can be read of a run and its session."""
    return (
        await _or_refusal(state.runs.get(run.tenant, run.run_id)),
        await _or_refusal(state.runs.steps(run.tenant, run.run_id)),
        await _or_refusal(_events(state, run)),
        await _or_refusal(state.sessions.get(run.tenant, run.session_id)),
        await _or_refusal(state.sessions.messages(run.tenant, run.session_id)),
    )


async def listings(state: State, tenant: str) -> tuple[object, ...]:
    runs = await state.runs.list(tenant, session_id="", limit=100, token="")
    sessions = await state.sessions.list(tenant, limit=100, token="")
    return (*runs.items, *sessions.items)


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
