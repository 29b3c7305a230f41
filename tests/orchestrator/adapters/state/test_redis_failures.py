"""Redis that dies, answers late or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.redis_state import database as tuning
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import RunEvent, TextDelta
from orchestrator.domain.runs import RunState
from orchestrator.domain.work import WorkKind
from orchestrator.ports.state import State
from orchestrator.redis_server import (
    RedisServer,
    RedisServerError,
    ServerProgram,
    find_program,
    free_port,
)
from tests.fixtures_redis import EXTRACTED
from tests.orchestrator.adapters.state.given import TENANT, answer, claim_one, submitted
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
        with pytest.raises(Unavailable, match="takes no writes now") as caught:
            await submitted(state, "after")
        assert caught.value.reason == "STORE_UNAVAILABLE"
        await state.runs.commit(claim, answer(claim))
        assert (await state.runs.get(TENANT, claim.run.run_id)).state is RunState.COMPLETED


async def test_a_cancelled_request_never_hands_its_reply_to_the_next(redis_url: str) -> None:
    """Replies are held back while callers give up; then each caller must get its own."""
    async with Proxy(redis_url) as proxy, open_redis_state(proxy.url) as state:
        sessions = {}
        for tenant in ("acme", "other"):
            made = await state.sessions.create(tenant, agent=tenant, labels={})
            sessions[tenant] = made.session_id
        for _ in range(5):
            proxy.held.clear()
            given_up = [
                asyncio.ensure_future(state.sessions.get("acme", sessions["acme"]))
                for _ in range(2 * tuning.POOL_SIZE)
            ]
            await asyncio.sleep(0)
            for number, request in enumerate(given_up):
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                request.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            proxy.held.set()
            answers = await asyncio.gather(
                *(state.sessions.get("other", sessions["other"]) for _ in range(8))
            )
            assert {answer.tenant for answer in answers} == {"other"}


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
