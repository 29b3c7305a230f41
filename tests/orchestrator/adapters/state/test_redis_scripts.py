"""What only Redis can show: declared keys, lost replies, nothing left over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.redis_state.scripts import every_script
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.budgets import BudgetRule, Budgets, Period
from orchestrator.domain.errors import FailedPrecondition, StaleLease
from orchestrator.domain.events import TextDelta
from orchestrator.domain.interrupts import Approved, InterruptKind
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state.given import (
    LONG_MS,
    TENANT,
    answer,
    asks_for_tools,
    called,
    child_of,
    claim_one,
    claimed,
    eventually,
    failure,
    resumed,
    submitted,
    tool_result,
    waits_for,
    with_tools,
)
from tests.orchestrator.adapters.state.proxy import Proxy

LIMITS = Limits(
    budgets=Budgets(default=BudgetRule(limit_micros=10**12, period=Period.MONTH)),
)


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[State]:
    """Several shards, so that no key is one by chance."""
    async with open_redis_state(redis_url, shards=4, limits=LIMITS) as state:
        yield state


async def everything(state: State) -> None:
    """Runs every script at least once, most on each of their paths."""
    await state.agents.put(TENANT, "helper", AgentSpec(system_prompt="a"))
    run = await submitted(state, "one")
    await submitted(state, "two", session_id=run.session_id, policy=BusyPolicy.ENQUEUE)
    await submitted(state, "three", session_id=run.session_id, policy=BusyPolicy.INTERRUPT)
    claim = await claim_one(state)
    await state.runs.emit(claim.lease, [TextDelta(text="a")])
    await state.runs.extend([claim.lease], lease_ms=LONG_MS)
    await state.runs.commit(claim, asks_for_tools(claim))
    await claimed(state, WorkKind.TOOL, limit=2, lease_ms=0)
    await state.ledger.reserve(TENANT, "", 7, ttl_s=0)
    await state.runs.reap(limit=10)
    for tool in await claimed(state, WorkKind.TOOL, limit=2):
        fresh = await state.runs.refresh(tool)
        await state.runs.commit(fresh, tool_result(fresh))
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    await none_left_open(state)
    await sub_runs_and_answers(state)
    await orphaned(state)
    await failures(state)
    fork = await state.sessions.fork(TENANT, run.session_id)
    other = await submitted(state, "in the fork", session_id=fork.session_id, timeout_ms=1)
    (late,) = await eventually(lambda: state.runs.overdue(limit=9))
    assert late.run.run_id == other.run_id
    await state.runs.loads(WorkKind.REASON)
    await none_left_open(state)
    reservation = await state.ledger.reserve(TENANT, "helper", 7)
    await state.ledger.settle(reservation, [called(5)])
    await emptied(state)


async def none_left_open(state: State) -> None:
    for doomed in (await state.runs.list(TENANT, session_id="", limit=99, token="")).items:
        await state.runs.cancel(TENANT, doomed.run_id)


async def sub_runs_and_answers(state: State) -> None:
    await with_tools(state, "parent")
    call = await claim_one(state, WorkKind.TOOL)
    child = await child_of(state, call)
    await state.runs.commit(call, waits_for(child, call))
    answering = await claim_one(state)
    await state.runs.extend([answering.lease], lease_ms=LONG_MS)
    await state.runs.release(answering.lease, counts=False)
    answering = await claim_one(state)
    await state.runs.commit(answering, answer(answering), emitted=[TextDelta(text="b")])
    back = await claim_one(state, WorkKind.TOOL)
    await state.runs.release(back.lease, delay_ms=1)
    (back,) = await eventually(lambda: claimed(state, WorkKind.TOOL))
    await state.runs.commit(back, tool_result(back))
    await none_left_open(state)
    asked = await with_tools(state, "asked", gates={"c0": InterruptKind.APPROVAL})
    await resumed(state, asked, Approved())
    await none_left_open(state)


async def orphaned(state: State) -> None:
    await with_tools(state, "ends")
    call = await claim_one(state, WorkKind.TOOL)
    await child_of(state, call, "goes on")
    await state.runs.commit(call, failure(call))
    await eventually(lambda: state.runs.orphans(limit=9))
    await none_left_open(state)


async def failures(state: State) -> None:
    await submitted(state, "fails")
    claim = await claim_one(state)
    await state.runs.commit(claim, failure(claim, dead_letter=True))
    (entry,) = (await state.dead_letters.list(TENANT, limit=9, token="")).items
    await state.dead_letters.get(TENANT, entry.entry_id)
    await state.dead_letters.remove(TENANT, [entry.entry_id])


async def emptied(state: State) -> None:
    for session in (await state.sessions.list(TENANT, limit=99, token="")).items:
        await state.sessions.delete(TENANT, session.session_id)


async def test_every_key_that_a_script_touches_is_declared(redis: State, admin: Redis) -> None:
    touched: set[tuple[str, str]] = set()
    declared: set[str] = set()
    async with admin.monitor() as monitor:
        work = asyncio.ensure_future(everything(redis))
        work.add_done_callback(lambda _: asyncio.ensure_future(admin.echo("the end")))
        async for seen in monitor.listen():
            words = seen["command"].split(" ")
            if words[0] == "ECHO":
                break
            if words[0] == "EVALSHA":
                declared = set(words[3 : 3 + int(words[2])])
            elif seen["client_type"] == "lua" and words[0] not in ("TIME", "PUBLISH"):
                touched.add((words[0], words[1]))
                assert words[1] in declared, f"{words[0]} {words[1]} is not among {declared}"
        await work
    assert len(touched) > 50


async def test_all_keys_of_a_script_are_in_one_slot(redis: State, admin: Redis) -> None:
    run = await submitted(redis)
    keys = [key async for key in admin.scan_iter("fleet:*")]
    assert all(key.startswith("fleet:{s") for key in keys if key != "fleet:layout")
    tag = "{s" + run.run_id[4:6] + "}"
    assert sum(tag in key for key in keys) >= len(keys) - 2


async def test_nothing_of_the_queue_is_left_when_the_work_is_done(
    redis: State, admin: Redis
) -> None:
    await everything(redis)
    of_work = (
        "queue:",
        "ready:",
        "leases",
        "items",
        "delayed",
        "wait:",
        "timeouts",
        "children",
        "dead",
        "held",
    )
    keys = [key async for key in admin.scan_iter("fleet:{*")]
    assert [key for key in keys if key.partition("}:")[2].startswith(of_work)] == []
    for key in keys:
        if key.endswith("counters"):
            fields = await admin.hkeys(key)
            assert [f for f in fields if str(f).startswith(("running", "live", "reserved"))] == []


async def test_what_outlives_the_work_has_a_bound_or_an_end(redis: State, admin: Redis) -> None:
    run = await submitted(redis)
    claim = await claim_one(redis)
    await redis.runs.commit(claim, answer(claim))
    bounded = ("counters", "tenants", "expiring", "runs:", "sessions:", "spend")
    for key in [key async for key in admin.scan_iter("fleet:{*")]:
        assert key.partition("}:")[2].startswith(bounded) or await admin.pttl(key) > 0, key
    assert (await redis.runs.get(TENANT, run.run_id)).state is RunState.COMPLETED


async def test_a_script_that_redis_forgot_is_loaded_again(redis: State, admin: Redis) -> None:
    await admin.script_flush()
    await submitted(redis)
    await admin.script_flush()
    assert len(await claimed(redis)) == 1


async def test_what_has_expired_leaves_the_listings(redis_url: str, admin: Redis) -> None:
    limits = Limits(request_ttl_s=1, run_ttl_s=1, session_ttl_s=1)
    async with open_redis_state(redis_url, limits=limits) as state:
        run = await submitted(state)
        claim = await claim_one(state)
        await state.runs.commit(claim, answer(claim))
        async with asyncio.timeout(20):
            left = {"fleet:layout", "fleet:{s00}:counters", "fleet:{s00}:spend"}
            while set(await _keys(admin)) - left:
                await state.runs.reap(limit=10)
                await asyncio.sleep(0.05)
        assert not [f for f in await admin.hkeys("fleet:{s00}:counters") if TENANT in f], run


async def _keys(admin: Redis) -> list[str]:
    """But what claims leave for half a minute, and what is billed by day."""
    left = ("}:op:", "}:usage:")
    return [key async for key in admin.scan_iter("*") if not any(part in key for part in left)]


async def test_another_number_of_shards_is_refused(redis: State, redis_url: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"4 shards, but redis\.shards is 16"):
        async with open_redis_state(redis_url, shards=16):
            pass


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as proxy:
        yield proxy


@pytest.mark.parametrize("name", [script.name for script in every_script()])
async def test_a_script_whose_reply_was_lost_is_repeated_without_harm(
    redis_url: str, proxy: Proxy, name: str
) -> None:
    async with (
        open_redis_state(proxy.url, limits=LIMITS) as state,
        open_redis_state(redis_url) as plain,
    ):
        proxy.lose_one_reply_of(name)
        await everything(state)
        assert proxy.lost == 1 or name in ("drop", "expire_session", "purge_runs")
        assert (await plain.runs.list(TENANT, session_id="", limit=9, token="")).items == ()


async def test_lost_replies_write_nothing_twice(redis_url: str, proxy: Proxy) -> None:
    async with open_redis_state(proxy.url) as state, open_redis_state(redis_url) as plain:
        for name in ("submit", "claim", "begin", "emit", "commit"):
            proxy.lose_one_reply_of(name)
        run = await submitted(state)
        claim = await claim_one(state)
        await state.runs.emit(claim.lease, [TextDelta(text="a"), TextDelta(text="b")])
        await state.runs.commit(claim, answer(claim))
        assert proxy.lost == 5
        events = await plain.feed.read(TENANT, run.run_id, after_seq=0, limit=99)
        kinds = [event.payload.kind for event in events]
        assert kinds == ["state_changed"] * 2 + ["text_delta"] * 2 + ["finished"]
        assert len(await plain.sessions.messages(TENANT, run.session_id)) == 2
        assert len(await plain.runs.steps(TENANT, run.run_id)) == 1
        assert claim.lease.attempt == 1


async def test_a_late_copy_of_an_emit_is_not_written(redis: State, admin: Redis) -> None:
    await submitted(redis)
    claim = await claim_one(redis)
    late: list[bytes] = []
    async with admin.monitor() as monitor:
        await redis.runs.emit(claim.lease, [TextDelta(text="first")])
        async for seen in monitor.listen():
            if seen["command"].startswith("EVALSHA"):
                late = seen["command"].split(" ")
                break
    await redis.runs.emit(claim.lease, [TextDelta(text="second")])
    assert await admin.execute_command(*late) == "AGAIN"  # type: ignore[no-untyped-call]
    other = claim.lease.model_copy(update={"nonce": "x"})
    with pytest.raises(StaleLease):
        await redis.runs.emit(other, [TextDelta(text="third")])
    events = await redis.feed.read(TENANT, claim.run.run_id, after_seq=2, limit=9)
    assert [event.payload for event in events] == [
        TextDelta(text="first"),
        TextDelta(text="second"),
    ]
