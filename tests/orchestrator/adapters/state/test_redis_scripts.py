"""What only Redis can show: declared keys, lost replies, nothing left over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.redis_state.scripts import every_script
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import FailedPrecondition, StaleLease
from orchestrator.domain.events import TextDelta
from orchestrator.domain.runs import BusyPolicy, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import Limits, State
from tests.orchestrator.adapters.state.given import (
    LONG_MS,
    TENANT,
    answer,
    asks_for_tools,
    claim_one,
    claimed,
    submitted,
    tool_result,
)
from tests.orchestrator.adapters.state.proxy import Proxy


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[State]:
    async with open_redis_state(redis_url) as state:
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
    tools = await claimed(state, WorkKind.TOOL, limit=2, lease_ms=0)
    await state.runs.reap(limit=10)
    tools = await claimed(state, WorkKind.TOOL, limit=2)
    for tool in tools:
        fresh = await state.runs.refresh(tool)
        await state.runs.commit(fresh, tool_result(fresh))
    claim = await claim_one(state)
    await state.runs.commit(claim, answer(claim))
    fork = await state.sessions.fork(TENANT, run.session_id)
    other = await submitted(state, "in the fork", session_id=fork.session_id)
    await state.runs.cancel(TENANT, other.run_id)
    for doomed in (await state.runs.list(TENANT, session_id="", limit=9, token="")).items:
        await state.runs.cancel(TENANT, doomed.run_id)
    await state.sessions.delete(TENANT, run.session_id)
    await state.sessions.delete(TENANT, fork.session_id)


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
    of_queue = ("queue:", "ready:", "running", "leases", "items", "held", "attempts")
    names = (*of_queue, "open:", "wait:", "waiting:", "live")
    left = [
        key async for key in admin.scan_iter("fleet:{*") if key.partition("}:")[2].startswith(names)
    ]
    assert left == []


async def test_what_outlives_the_work_has_a_bound_or_an_end(redis: State, admin: Redis) -> None:
    run = await submitted(redis)
    claim = await claim_one(redis)
    await redis.runs.commit(claim, answer(claim))
    bounded = ("counters", "expiring", "runs:", "sessions:")
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
            while [key async for key in admin.scan_iter("fleet:{*:expiring")]:
                await state.runs.reap(limit=10)
                await asyncio.sleep(0.05)
        keys = [key async for key in admin.scan_iter("fleet:{*")]
        assert not [key for key in keys if TENANT in key], run


async def test_another_number_of_shards_is_refused(redis: State, redis_url: str) -> None:
    with pytest.raises(FailedPrecondition, match="16 shards; the setting says 4"):
        async with open_redis_state(redis_url, shards=4):
            pass


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as proxy:
        yield proxy


@pytest.mark.parametrize("name", [script.name for script in every_script()])
async def test_a_script_whose_reply_was_lost_is_repeated_without_harm(
    redis_url: str, proxy: Proxy, name: str
) -> None:
    async with open_redis_state(proxy.url) as state, open_redis_state(redis_url) as plain:
        proxy.lose_one_reply_of(name)
        await everything(state)
        assert proxy.lost == 1 or name in ("drop", "expire_session")
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
