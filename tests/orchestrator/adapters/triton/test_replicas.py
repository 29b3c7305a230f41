"""Several servers as one: whose share is how large, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from orchestrator.adapters.triton import TritonConnection, TritonReplicas
from orchestrator.adapters.triton.replica import Replica
from orchestrator.adapters.triton.wire import infer_request
from orchestrator.domain.errors import Unavailable
from tests.orchestrator.adapters.triton.virtual import ASKED, Server, Time

Ask = Callable[[TritonReplicas, int], Awaitable[None]]


@asynccontextmanager
async def replicas_of(
    time: Time, *servers: Server, watch_s: float = 60.0
) -> AsyncIterator[TritonReplicas]:
    by_url = {server.url: server for server in servers}
    async with TritonReplicas(
        list(by_url),
        connect=by_url.__getitem__,
        clock=time,
        uniform=random.Random(7),
        watch_s=watch_s,
    ) as replicas:
        yield replicas


async def infer(replicas: TritonReplicas, _: int) -> None:
    await replicas.infer(ASKED)


async def stream(replicas: TritonReplicas, _: int) -> None:
    async for _output in replicas.stream(ASKED):
        pass


async def stream_in_session(replicas: TritonReplicas, number: int) -> None:
    async for _output in replicas.stream(ASKED, session=f"session {number % 40}"):
        pass


async def send(replicas: TritonReplicas, time: Time, ask: Ask, *, count: int, at_once: int) -> None:
    """`at_once` callers ask one thing after the other, `count` in all."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await ask(replicas, number)

    callers = [asyncio.create_task(caller()) for _ in range(at_once)]
    await time.run(*callers)
    for task in callers:
        task.result()


def shares(servers: Sequence[Server]) -> list[float]:
    total = sum(server.requests for server in servers)
    return [server.requests / total for server in servers]


@pytest.mark.parametrize("ask", [infer, stream, stream_in_session])
@pytest.mark.parametrize("at_once", [1, 2, 8, 64])
async def test_one_that_is_ten_times_slower_gets_under_15_percent(ask: Ask, at_once: int) -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time, takes_s=0.1)]
    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, ask, count=600, at_once=at_once)
    assert sum(server.requests for server in servers) == 600
    assert shares(servers)[1] < 0.15


@pytest.mark.parametrize("ask", [infer, stream])
async def test_equal_ones_get_equal_shares(ask: Ask) -> None:
    time = Time()
    servers = [Server(f"{name}:1", time) for name in "abcd"]
    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, ask, count=800, at_once=16)
    assert all(0.15 < share < 0.35 for share in shares(servers))


async def test_one_that_was_slow_gets_its_share_again_once_it_is_not() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time, takes_s=0.1)]
    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, infer, count=100, at_once=8)
        servers[1].takes_s = 0.01
        await send(replicas, time, infer, count=20_000, at_once=8)
        before = servers[1].requests
        await send(replicas, time, infer, count=400, at_once=8)
    assert servers[1].requests - before > 100


@pytest.mark.parametrize("ask", [infer, stream, stream_in_session])
async def test_no_request_fails_while_one_is_stopped(ask: Ask) -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]
    async with replicas_of(time, *servers) as replicas:
        sending = asyncio.create_task(send(replicas, time, ask, count=200, at_once=8))
        while servers[1].requests < 20:  # noqa: ASYNC110 - the virtual time's
            await asyncio.sleep(0)
        servers[1].gone = True
        if ask is infer:
            await sending
        else:  # what had begun is told; what had not goes to the other
            failed = (await asyncio.gather(sending, return_exceptions=True))[0]
            assert failed is None or isinstance(failed, Unavailable)
        asked = servers[1].requests
        await send(replicas, time, ask, count=100, at_once=8)
        assert servers[1].requests == asked


async def test_one_that_was_away_comes_back() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]
    servers[1].gone = True
    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, infer, count=20, at_once=4)
        asked = servers[1].requests
        servers[1].gone = False
        async with asyncio.timeout(20):
            while servers[1].requests == asked:
                await send(replicas, time, infer, count=4, at_once=4)
                await asyncio.sleep(0.01)


async def test_a_silent_one_is_found_out_and_its_requests_go_to_the_other() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]
    servers[1].silent.set()
    async with replicas_of(time, *servers, watch_s=0.02) as replicas:
        asking = [asyncio.create_task(infer(replicas, 0)) for _ in range(8)]
        async with asyncio.timeout(20):
            while not all(task.done() for task in asking):
                await time.run(*asking)
                await asyncio.sleep(0.01)
        for task in asking:
            task.result()
    assert servers[1].requests > 0
    assert servers[0].requests == 8


async def test_who_is_slow_to_leave_a_silent_one_may_be_told_twice() -> None:
    replica, ending = Replica(TritonConnection("a:1"), Time()), asyncio.Event()

    async def silence() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ending.wait()

    asked = asyncio.create_task(replica.heard("m", silence()))
    for _ in range(2):
        for _ in range(3):
            await asyncio.sleep(0)
        replica.leave()
    ending.set()
    with pytest.raises(Unavailable):
        await asked


async def test_a_stream_that_had_begun_at_a_silent_one_ends_with_the_reason() -> None:
    time = Time()
    server, other = Server("a:1", time, takes_s=0.0), Server("b:1", time)
    other.gone = True
    async with replicas_of(time, server, other, watch_s=0.02) as replicas:
        seen = 0

        async def read() -> None:
            nonlocal seen
            async for _ in replicas.stream(ASKED):
                seen += 1
                server.silent.set()

        reading = asyncio.create_task(read())
        await time.run(reading)
        with pytest.raises(Unavailable, match="can't be reached"):
            await asyncio.wait_for(reading, 20)
    assert seen == 1


async def test_one_model_that_is_sick_takes_nothing_but_its_own_requests_away() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]
    servers[1].sick.add("other")
    async with replicas_of(time, *servers) as replicas:

        async def ask_other(replicas: TritonReplicas, _: int) -> None:
            await replicas.infer(infer_request("other", []))

        await send(replicas, time, ask_other, count=20, at_once=4)
        assert servers[1].requests <= 4
        servers[0].requests = servers[1].requests = 0
        await send(replicas, time, infer, count=100, at_once=4)
        assert shares(servers)[1] > 0.3


async def test_when_all_are_away_the_caller_is_told_and_they_are_tried_all_the_same() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]
    for server in servers:
        server.gone = True
    async with replicas_of(time, *servers) as replicas:
        for _ in range(2):
            with pytest.raises(Unavailable, match="can't be reached"):
                await replicas.infer(ASKED)
        assert not await replicas.ready("m")
        for server in servers:
            server.gone = False
        await send(replicas, time, infer, count=1, at_once=1)


async def test_a_session_stays_where_its_prefix_is() -> None:
    time = Time()
    servers = [Server(f"{name}:1", time) for name in "abc"]
    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, stream_in_session, count=400, at_once=1)
    sessions = [set(server.sessions) for server in servers]
    assert len(set.union(*sessions)) == sum(map(len, sessions)) == 40
    assert all(server.sessions for server in servers)


async def test_sessions_of_an_overloaded_one_go_to_the_next() -> None:
    time = Time()
    servers = [Server("a:1", time), Server("b:1", time)]

    async def same(replicas: TritonReplicas, _: int) -> None:
        async for _output in replicas.stream(ASKED, session="always the same"):
            pass

    async with replicas_of(time, *servers) as replicas:
        await send(replicas, time, same, count=300, at_once=20)
    assert max(shares(servers)) <= 0.75
    assert min(shares(servers)) >= 0.25
