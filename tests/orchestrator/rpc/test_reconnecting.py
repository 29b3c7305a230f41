"""Watchers that come and go between replicas, while the run goes on."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.domain.events import TextDelta
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import answer, claim_one
from tests.orchestrator.rpc.given import Fleet, serving_over

WATCHERS = 40
DELTAS = 200


async def watch_here_and_there(
    replicas: list[Fleet], run_id: str, chance: random.Random
) -> list[tuple[int, str]]:
    """Follows the run, leaving every now and then for another replica; returns what it saw."""
    seen: list[tuple[int, str]] = []
    while True:
        after_seq = seen[-1][0] if seen else 0
        runs = chance.choice(replicas).runs
        stream = runs.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id, after_seq=after_seq))
        snapshot, stays = True, chance.randrange(1, 40)
        async for event in stream:
            if snapshot:
                assert event.seq == after_seq
                snapshot = False
                continue
            seen.append((event.seq, event.text_delta.text))
            if event.HasField("finished"):
                return seen
            stays -= 1
            if stays == 0:
                stream.cancel()
                break


async def work(fleet: Fleet, deltas: int = DELTAS) -> None:
    claim = await claim_one(fleet.state)
    for i in range(deltas):
        await fleet.state.runs.emit(claim.lease, [TextDelta(text=f"{i} ")])
        await asyncio.sleep(0)
    claim = await fleet.state.runs.refresh(claim)
    await fleet.state.runs.commit(claim, answer(claim, "done"))


async def test_watchers_that_reconnect_see_every_event_once_and_in_order(
    fleet: Fleet, redis_url: str | None
) -> None:
    chance = random.Random(7)
    async with AsyncExitStack() as opened:
        state = fleet.state
        if redis_url is not None:  # a replica with connections of its own
            state = await opened.enter_async_context(open_redis_state(redis_url, shards=4))
        other = await opened.enter_async_context(serving_over(state))
        request = runs_pb2.StartRunRequest(request_id="r1", input="hi")
        run_id = (await fleet.runs.StartRun(request)).run.run_id
        watching = [
            asyncio.ensure_future(
                watch_here_and_there([fleet, other], run_id, random.Random(chance.random()))
            )
            for _ in range(WATCHERS)
        ]
        await work(fleet)
        async with asyncio.timeout(60):
            saw = await asyncio.gather(*watching)
    for seen in saw:
        assert [seq for seq, _ in seen] == list(range(1, DELTAS + 4))
        assert "".join(text for _, text in seen) == "".join(f"{i} " for i in range(DELTAS))


async def test_a_thousand_watchers_at_once_all_see_the_end(fleet: Fleet) -> None:
    request = runs_pb2.StartRunRequest(request_id="r1", input="hi")
    run_id = (await fleet.runs.StartRun(request)).run.run_id
    watch = runs_pb2.WatchRunRequest(run_id=run_id)
    streams = [fleet.runs.WatchRun(watch) for _ in range(1000)]
    await asyncio.gather(*(stream.read() for stream in streams))
    assert fleet.registry.get_sample_value("fleet_rpc_open_watches") == 1000
    await work(fleet, deltas=3)
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*map(last_seq, streams))
    assert set(ends) == {6}


async def last_seq(stream: Any) -> int:
    event = await stream.read()
    while not event.HasField("finished"):
        event = await stream.read()
    return int(event.seq)
