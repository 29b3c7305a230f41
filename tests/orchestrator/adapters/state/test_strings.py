"""Whatever a tenant writes into its strings comes back as it was and touches nobody else."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import InvalidInput, NotFound
from orchestrator.domain.events import Payload, TextDelta, ToolCallFinished
from orchestrator.domain.machine import (
    Failed,
    InferenceFinished,
    Submitted,
    ToolFinished,
    advance,
)
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.runs import Run, RunError, StepRecord
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import LeaseState, Registration, State
from tests.orchestrator.adapters.state.given import (
    LONG_MS,
    answer,
    claimed,
    committed,
    payloads,
    submitted,
)

NASTY = [
    "",
    "\0",
    "\0000\0",
    "a\0b",
    "\n",
    "a\nb\r\n",
    "acme",
    "acme:run",
    "{s00}",
    "*",
    "%s%n",
    "'); return redis.call('FLUSHALL') --",
    '"}]',
    "\\u0000",
    "\ufeff\u202e\U0010ffff",
    "-0",
    "1e309",
    "x" * 100_000,
]
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))
names = st.one_of(
    st.sampled_from(["acme", "acme:run", "acme:", ":", "{s00}", "*", "é", "0", "-1", "x" * 200]),
    st.text(min_size=1, max_size=8).filter(str.isprintable),
)
numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Strings:
    """All that a tenant, its model and its tools may choose."""

    request_id: str
    input: str
    label: str
    delta: str
    call_ids: tuple[str, str]
    name: str
    arguments: str
    content: str
    error: str

    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(call_id=call_id, name=self.name, arguments_json=self.arguments)
            for call_id in self.call_ids
        )


strings = st.builds(
    Strings,
    request_id=texts,
    input=texts,
    label=texts,
    delta=texts,
    call_ids=st.tuples(texts, texts).filter(lambda pair: pair[0] != pair[1]),
    name=texts,
    arguments=texts,
    content=texts,
    error=texts,
)
WORST = Strings("\0", "\0", "\0", "\n", ("\0", "a\0b"), "\0", "\0", "\0", "\n")
fuzzed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)


async def accepted(state: State, tenant: str, said: Strings) -> Run:
    request_id = f"{next(numbers)} {said.request_id}"
    known = await state.runs.register(tenant, request_id, fingerprint=said.label, session_id="")
    again = await state.runs.register(tenant, request_id, fingerprint="", session_id="")
    assert (again.run_id, again.fingerprint, again.created) == (known.run_id, said.label, False)
    run = Run(
        run_id=known.run_id,
        tenant=tenant,
        session_id=known.session_id,
        agent="assistant@1",
        input=said.input,
        labels={said.label: said.label},
    )
    await state.runs.submit(advance(run, Submitted()), session_labels={said.label: said.label})
    return run


async def worked(state: State, run: Run, said: Strings) -> None:
    """Takes the run through a step with tools to a failure with a dead letter."""
    step = await own_claim(state, run, WorkKind.REASON)
    await state.runs.emit(step.lease, [TextDelta(text=said.delta), TextDelta(text="")])
    record = StepRecord(step=1, attempt=1, model=said.name, finish_reason=said.delta)
    moved = advance(step.run, InferenceFinished(said.delta, said.calls(), record))
    await state.runs.commit(step, moved, emitted=[TextDelta(text=said.delta)])
    for _ in said.call_ids:
        tool = await own_claim(state, run, WorkKind.TOOL)
        assert tool.lease.item.call in said.calls()
        call_id = tool.lease.item.call.call_id
        await state.runs.release(tool.lease)
        tool = await own_claim(state, run, WorkKind.TOOL)
        assert await state.runs.extend([tool.lease], lease_ms=LONG_MS) == (LeaseState.HELD,)
        call_id = tool.lease.item.call.call_id if tool.lease.item.call else ""
        result = ToolFinished(call_id, True, said.content, 1.0)
        await committed(state, tool, lambda claim, done=result: advance(claim.run, done))  # type: ignore[misc]
    step = await own_claim(state, run, WorkKind.REASON)
    error = RunError(reason="FAILED", message=said.error)
    await state.runs.commit(step, advance(step.run, Failed(error, dead_letter=True)))


async def own_claim(state: State, run: Run, kind: WorkKind) -> Claim:
    (claim,) = await claimed(state, kind, history=9)
    assert claim.run.run_id == run.run_id
    assert claim.lease.tenant == run.tenant
    return claim


def written(run: Run, said: Strings) -> list[tuple[str, str]]:
    """What the session is to hold, by role and content."""
    results = [("tool", said.content) for _ in said.call_ids]
    return [("user", said.input), ("assistant", said.delta), *results]


@fuzzed
@given(mine=names, theirs=names, said=strings)
@example(mine="acme", theirs="acme:run", said=WORST)
async def test_what_is_written_is_read_by_its_tenant_and_by_no_other(
    state: State, mine: str, theirs: str, said: Strings
) -> None:
    run = await accepted(state, mine, said)
    await worked(state, run, said)
    got = await state.runs.get(mine, run.run_id)
    assert (got.input, got.labels) == (said.input, {said.label: said.label})
    assert got.error == RunError(reason="FAILED", message=said.error)
    session = await state.sessions.get(mine, run.session_id)
    assert session.labels == {said.label: said.label}
    messages: tuple[Message, ...] = await state.sessions.messages(mine, run.session_id)
    assert [(m.role.value, m.content) for m in messages] == written(run, said)
    assert messages[1].tool_calls == said.calls()
    assert [m.tool_call_id for m in messages[2:]] == list(said.call_ids)
    events: list[Payload] = await payloads(state, run)
    assert [e.text for e in events if isinstance(e, TextDelta)] == [said.delta, "", said.delta]
    finished = [e for e in events if isinstance(e, ToolCallFinished)]
    assert {e.call_id for e in finished} == set(said.call_ids)
    (entry, *_) = (await state.dead_letters.list(mine, limit=1, token="")).items
    assert (entry.run_id, entry.message) == (run.run_id, said.error)
    if mine != theirs:
        await nothing_is_seen(state, theirs, run, entry.entry_id)


async def nothing_is_seen(state: State, tenant: str, run: Run, entry_id: str) -> None:
    for reading in (
        state.runs.get(tenant, run.run_id),
        state.runs.read(tenant, run.run_id),
        state.runs.steps(tenant, run.run_id),
        state.runs.cancel(tenant, run.run_id),
        state.runs.list(tenant, session_id=run.session_id, limit=9, token=""),
        state.feed.read(tenant, run.run_id, after_seq=0, limit=9),
        state.sessions.get(tenant, run.session_id),
        state.sessions.messages(tenant, run.session_id),
        state.sessions.fork(tenant, run.session_id),
        state.sessions.delete(tenant, run.session_id),
        state.dead_letters.get(tenant, entry_id),
    ):
        with pytest.raises(NotFound):
            await reading
    assert await state.dead_letters.remove(tenant, [entry_id]) == 0
    runs = await state.runs.list(tenant, session_id="", limit=1000, token="")
    assert run.run_id not in {each.run_id for each in runs.items}
    assert all(each.tenant == tenant for each in runs.items)
    sessions = await state.sessions.list(tenant, limit=1000, token="")
    assert all(each.tenant == tenant for each in sessions.items)
    entries = await state.dead_letters.list(tenant, limit=1000, token="")
    assert all(each.tenant == tenant for each in entries.items)


@fuzzed
@given(mine=names, theirs=names, said=strings)
@example(mine="acme", theirs="acme:run", said=WORST)
async def test_what_one_tenant_writes_keeps_no_other_from_its_work(
    state: State, mine: str, theirs: str, said: Strings
) -> None:
    if mine == theirs:
        theirs += "2"
    run = await accepted(state, mine, said)
    (step,) = await claimed(state)
    record = StepRecord(step=1, attempt=1, model=said.name, finish_reason="tool_calls")
    inferred = InferenceFinished(said.delta, said.calls(), record)
    await state.runs.commit(step, advance(step.run, inferred))
    quiet = await submitted(state, "hello", tenant=theirs, request_id=f"quiet {next(numbers)}")
    claims = await claimed(state, limit=9)
    assert [c.run.run_id for c in claims] == [quiet.run_id]
    await state.runs.commit(claims[0], answer(claims[0]))
    assert (await state.runs.get(theirs, quiet.run_id)).result == "hello"
    loads = {load.tenant: load for load in await state.runs.loads(WorkKind.TOOL)}
    assert loads[mine].queued == 2
    assert theirs not in loads or loads[theirs].queued == 0
    await state.runs.cancel(mine, run.run_id)
    assert await claimed(state, WorkKind.TOOL, limit=9) == ()
    await state.sessions.delete(theirs, quiet.session_id)
    await state.sessions.delete(mine, run.session_id)


@fuzzed
@given(
    identifier=st.one_of(
        texts, st.from_regex(r"(run|ses)_[0-9a-f]{2}_[0-9a-z]{16,40}", fullmatch=True)
    )
)
async def test_what_nobody_made_is_refused_as_invalid_or_not_found(
    state: State, identifier: str
) -> None:
    for reading in (
        state.runs.get("acme", identifier),
        state.runs.cancel("acme", identifier),
        state.feed.read("acme", identifier, after_seq=0, limit=1),
        state.sessions.get("acme", identifier),
        state.sessions.delete("acme", identifier),
        state.runs.register("acme", "r", fingerprint="", session_id=identifier or "?"),
    ):
        (outcome,) = await asyncio.gather(reading, return_exceptions=True)
        refused = isinstance(outcome, InvalidInput | NotFound)
        assert refused or isinstance(outcome, Registration)
