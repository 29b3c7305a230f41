"""Redis that dies, answers late or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import database as tuning
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import RunEvent, TextDelta
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import BusyPolicy, Run, RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import LeaseState, State
from orchestrator.redis_server import (
    RedisServer,
    RedisServerError,
    ServerProgram,
    find_program,
    free_port,
)
from tests.fixtures_redis import EXTRACTED
from tests.orchestrator.adapters.state.given import (
    LONG_MS,
    TENANT,
    answer,
    claim_one,
    eventually,
    submitted,
    tool_result,
    with_tools,
)
from tests.orchestrator.adapters.state.proxy import Proxy


@pytest.fixture
def program(redis_server: RedisServer) -> ServerProgram:
    return find_program(extracted=EXTRACTED)


@pytest.fixture
async def mortal(program: ServerProgram, tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A server that a test may kill and start again."""
    async with RedisServer(program, port=free_port(), folder=tmp_path) as server:
        yield server


async def test_a_watcher_and_a_worker_live_through_a_killed_server(mortal: RedisServer) -> None:
    async with open_redis_state(mortal.url) as state:
        run = await submitted(state)
        seen: list[RunEvent] = []
        watching = asyncio.ensure_future(_watch(state, run.run_id, seen))
        claim = await claim_one(state)
        for number in range(3):
            await state.runs.emit(claim.lease, [TextDelta(text=f"before {number}")])
            await mortal.kill()
            sending = asyncio.ensure_future(
                state.runs.emit(claim.lease, [TextDelta(text=f"after {number}")])
            )
            await mortal.start()
            await sending
        await state.runs.commit(claim, answer(claim))
        async with asyncio.timeout(60):
            await watching
        assert [event.seq for event in seen] == list(range(1, 10))
        texts = [e.payload.text for e in seen if isinstance(e.payload, TextDelta)]
        assert texts == [f"{when} {n}" for n in range(3) for when in ("before", "after")]


async def _watch(state: State, run_id: str, seen: list[RunEvent]) -> None:
    """Watches as a client does: again from the last event when the store was away."""
    while not (seen and seen[-1].terminal):
        with contextlib.suppress(Unavailable):
            after = seen[-1].seq if seen else 0
            async for event in state.feed.follow(TENANT, run_id, after_seq=after):
                seen.append(event)  # noqa: PERF401 - it may end with an error


async def test_work_that_comes_after_a_restart_is_noticed(mortal: RedisServer) -> None:
    async with open_redis_state(mortal.url) as worker, open_redis_state(mortal.url) as api:
        assert await worker.runs.claim(WorkKind.REASON, worker="w", limit=1, lease_ms=1000) == ()
        await mortal.kill()
        await mortal.start()
        await submitted(api)
        async with asyncio.timeout(60):
            while not await worker.runs.claim(WorkKind.REASON, worker="w", limit=1, lease_ms=1000):
                await worker.runs.wait_for_work(WorkKind.REASON, timeout_s=60)


async def test_a_store_that_stays_away_is_unavailable_with_its_reason(
    mortal: RedisServer,
) -> None:
    async with open_redis_state(mortal.url) as state:
        await mortal.kill()
        async with asyncio.timeout(4 * tuning.PATIENCE_S):
            with pytest.raises(Unavailable) as caught:
                await submitted(state)
        assert caught.value.reason == "STORE_UNAVAILABLE"
        assert str(mortal.url) not in caught.value.message


async def test_a_full_store_takes_no_new_run_but_lets_a_running_one_end(
    mortal: RedisServer,
) -> None:
    async with open_redis_state(mortal.url) as state, Redis.from_url(mortal.url) as admin:
        await submitted(state, "before")
        claim = await claim_one(state)
        await admin.config_set("maxmemory", "1mb")
        before = await _everything_kept(admin)
        for refused in (
            submitted(state, "after"),
            state.runs.emit(claim.lease, [TextDelta(text="a")]),
            state.sessions.create(TENANT, agent="a", labels={}),
            state.agents.put(TENANT, "a", AgentSpec()),
        ):
            with pytest.raises(Unavailable, match="takes no writes now") as caught:
                await refused
            assert caught.value.reason == "STORE_UNAVAILABLE"
        assert await _everything_kept(admin) == before
        await state.runs.commit(claim, answer(claim))
        assert (await state.runs.get(TENANT, claim.run.run_id)).state is RunState.COMPLETED


async def _everything_kept(admin: Redis) -> dict[bytes, bytes | None]:
    return {key: await admin.dump(key) async for key in admin.scan_iter("*")}


async def test_every_step_of_a_run_works_when_each_write_is_synced(
    program: ServerProgram, tmp_path: Path
) -> None:
    async with (
        RedisServer(program, port=free_port(), folder=tmp_path, fsync="always") as server,
        open_redis_state(server.url) as state,
    ):
        run = await with_tools(state)
        tool = await claim_one(state, WorkKind.TOOL)
        await state.runs.commit(tool, tool_result(tool))
        claim = await claim_one(state)
        await state.runs.commit(claim, answer(claim), emitted=[TextDelta(text="a")])
        await server.kill()
        await server.start()
        assert (await state.runs.get(TENANT, run.run_id)).state is RunState.COMPLETED


async def test_a_cancelled_request_never_hands_its_reply_to_the_next(redis_url: str) -> None:
    """Callers give up at any point while replies are held back; the others get their own."""
    draw = random.Random(20230320)
    tenants = [f"tenant-{number}" for number in range(8)]
    async with Proxy(redis_url) as proxy, open_redis_state(proxy.url) as state:
        runs = {tenant: await submitted(state, tenant, tenant=tenant) for tenant in tenants}
        right = {tenant: await _asked(state, runs[tenant], 0) for tenant in tenants}
        given_up = 0
        for _ in range(8):
            proxy.held.clear()
            asked = [
                (tenant, asyncio.ensure_future(_asked(state, runs[tenant], draw.randrange(4))))
                for tenant in draw.choices(tenants, k=96)
            ]
            for _, request in draw.sample(asked, 60):
                for _ in range(draw.randrange(3)):
                    await asyncio.sleep(0)
                if draw.random() < 0.05:
                    proxy.held.set()
                request.cancel()
            proxy.held.set()
            answers = await asyncio.gather(*(r for _, r in asked), return_exceptions=True)
            for (tenant, _), found in zip(asked, answers, strict=True):
                given_up += isinstance(found, asyncio.CancelledError)
                assert isinstance(found, asyncio.CancelledError) or found == right[tenant]
        assert given_up > 200


async def _asked(state: State, run: Run, how: int) -> tuple[str, str]:
    """Returns the tenant and the run's input, whichever way they are asked for."""
    match how:
        case 0:
            found = await state.runs.get(run.tenant, run.run_id)
            return found.tenant, found.input
        case 1:
            (message,) = await state.sessions.messages(run.tenant, run.session_id)
            return run.tenant, message.content
        case 2:
            session = await state.sessions.get(run.tenant, run.session_id)
            listed = await state.runs.list(
                session.tenant, session_id=session.session_id, limit=9, token=""
            )
            return session.tenant, listed.items[0].input
    known = await state.runs.register(run.tenant, run.input, fingerprint="", session_id="")
    assert known.run_id == run.run_id
    return run.tenant, known.fingerprint


async def test_a_claim_whose_process_died_before_it_began_restarts_nothing(redis_url: str) -> None:
    async with Proxy(redis_url) as proxy, open_redis_state(redis_url) as plain:
        async with open_redis_state(proxy.url) as state:
            run = await submitted(plain)
            proxy.held.clear()
            dying = asyncio.ensure_future(claim_one(state, lease_ms=0))
            await eventually(lambda: _running(plain))
            dying.cancel()
        proxy.held.set()
        assert await plain.runs.reap(limit=9) == 1
        assert (await claim_one(plain)).lease.attempt == 2
        events = await plain.feed.read(TENANT, run.run_id, after_seq=0, limit=9)
        assert [event.payload.kind for event in events] == ["state_changed", "state_changed"]


async def _running(state: State) -> int:
    return sum(load.running for load in await state.runs.loads(WorkKind.REASON))


async def test_a_cancel_is_told_to_every_process(redis_url: str) -> None:
    async with AsyncExitStack() as opened:
        api, *workers = [
            await opened.enter_async_context(open_redis_state(redis_url)) for _ in range(3)
        ]
        run = await submitted(api)
        claim = await claim_one(workers[0])
        told = [worker.runs.cancels() for worker in workers]
        hearing = [asyncio.ensure_future(anext(each)) for each in told]
        async with asyncio.timeout(20):
            while not all(each.done() for each in hearing):
                await api.runs.cancel(TENANT, run.run_id)
                await asyncio.wait(hearing, timeout=0.05)
        assert [each.result() for each in hearing] == [run.run_id] * 2
        states = await workers[0].runs.extend([claim.lease], lease_ms=LONG_MS)
        assert states == (LeaseState.CANCEL_REQUESTED,)
        for each in told:
            await each.aclose()  # type: ignore[attr-defined]


async def test_a_commit_writes_as_much_whatever_the_sessions_length(mortal: RedisServer) -> None:
    async with open_redis_state(mortal.url) as state, Redis.from_url(mortal.url) as admin:
        await admin.config_set("appendfsync", "always")  # else a write may be put off
        run = await submitted(state, "turn 000")
        written: list[int] = []
        for number in range(1, 501):
            claim = await claim_one(state)
            before = (await admin.info("persistence"))["aof_current_size"]
            await state.runs.commit(claim, answer(claim, f"answer {number:03}"))
            written.append((await admin.info("persistence"))["aof_current_size"] - before)
            if number < 500:
                await submitted(state, f"turn {number:03}", session_id=run.session_id)
        assert len(await state.sessions.messages(TENANT, run.session_id)) == 1000
        assert min(written) > 0
        assert max(written[250:]) <= 1.02 * max(written[:20])


async def test_a_slow_watcher_is_bounded_and_misses_nothing(redis_url: str) -> None:
    async with open_redis_state(redis_url) as state:
        run = await submitted(state)
        feed = state.feed.follow(TENANT, run.run_id, after_seq=0)
        seen = [(await anext(feed)).seq]
        claim = await claim_one(state)
        for number in range(600):
            await state.runs.emit(claim.lease, [TextDelta(text=str(number))])
        await state.runs.commit(claim, answer(claim))
        seen += [event.seq async for event in feed]
        assert seen == list(range(1, 604))


async def test_two_servers_on_one_port_are_refused_in_a_sentence(
    mortal: RedisServer, program: ServerProgram, tmp_path: Path
) -> None:
    port = int(mortal.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(RedisServerError, match=f"port {port} for Redis is taken"):
        await RedisServer(program, port=port, folder=tmp_path / "second").start()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("Redis server v=6.2.14 sha=0", "is version 6.2; 7.0 is needed"),
        ("GNU bash", "is no Redis or Valkey server; it said 'GNU bash"),
    ],
)
def test_a_program_that_will_not_do_is_named(tmp_path: Path, says: str, why: str) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    with pytest.raises(RedisServerError, match=why):
        find_program(program)


def test_a_server_is_found_among_extracted_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RedisServerError, match="no redis-server or valkey-server on PATH"):
        find_program(extracted=tmp_path)
    program = tmp_path / "valkey" / "usr" / "bin" / "valkey-server"
    libraries = tmp_path / "valkey" / "usr" / "lib" / "x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'Valkey server v=8.1.0'\n")
    program.chmod(0o755)
    found = find_program(extracted=tmp_path)
    assert (found.path, found.version, found.libraries) == (program, (8, 1), libraries)
    assert found.environment()["LD_LIBRARY_PATH"].startswith(str(libraries))


async def test_an_interrupting_run_whose_process_dies_at_once_does_not_wait_for_ever(
    redis_url: str,
) -> None:
    async with open_redis_state(redis_url) as state:
        first = await with_tools(state, gates={"c0": InterruptKind.REPLY})
        known = await state.runs.register(
            TENANT, "two", fingerprint="two", session_id=first.session_id
        )
        second = first.model_copy(
            update={"run_id": known.run_id, "busy_policy": BusyPolicy.INTERRUPT}
        )
        dying = asyncio.ensure_future(
            state.runs.submit(advance(second, Submitted()), session_labels={})
        )
        for _ in range(2):  # the first script is sent, and no reply is read
            await asyncio.sleep(0)
        dying.cancel()
        await asyncio.wait([dying])
        waiting = await claim_one(state, WorkKind.TOOL)
        assert (waiting.run.run_id, waiting.cancel_requested) == (first.run_id, True)


async def test_an_emit_that_is_tried_again_after_the_store_was_away_is_written_once(
    redis_url: str,
) -> None:
    async with Proxy(redis_url) as proxy, open_redis_state(proxy.url) as state:
        await submitted(state)
        claim = await claim_one(state)
        proxy.held.clear()
        unsure = asyncio.ensure_future(state.runs.emit(claim.lease, [TextDelta(text="a")]))
        async with open_redis_state(redis_url) as other:
            seen = other.feed.follow(TENANT, claim.run.run_id, after_seq=2)
            async with asyncio.timeout(10):
                assert (await anext(seen)).payload == TextDelta(text="a")
            unsure.cancel()
            await asyncio.wait([unsure])
            proxy.held.set()
            for text in ("a", "a", "b"):
                await state.runs.emit(claim.lease, [TextDelta(text=text)])
            events = await other.feed.read(TENANT, claim.run.run_id, after_seq=2, limit=9)
        assert [e.payload.text for e in events if isinstance(e.payload, TextDelta)] == [
            *("a", "a", "b")
        ]


async def test_a_step_may_ask_for_more_calls_than_a_script_can_take_apart_at_once(
    redis_url: str,
) -> None:
    many = tuple(
        ToolCall(call_id=f"c{number}", name="lookup", arguments_json="{}")
        for number in range(9_000)
    )
    async with open_redis_state(redis_url) as state:
        run = await with_tools(state, calls=many)
        assert len((await state.runs.get(TENANT, run.run_id)).pending) == len(many)
        await state.runs.cancel(TENANT, run.run_id)
        session = await state.sessions.get(TENANT, run.session_id)
        assert session.message_count == len(many) + 2
