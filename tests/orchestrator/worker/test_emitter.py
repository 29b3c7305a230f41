from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.domain.errors import StaleLease
from orchestrator.domain.events import Payload, TextDelta
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.worker.emitter import Emitter
from tests.orchestrator.execution.given import Looping, looping


@pytest.fixture
async def fleet() -> AsyncIterator[Looping]:
    async with looping() as fleet:
        fleet.loop.stop()
        await fleet.running
        yield fleet


async def claimed(fleet: Looping) -> Claim:
    await fleet.start()
    (claim,) = await fleet.runs.claim(WorkKind.REASON, worker="w", limit=1, lease_ms=60_000)
    return claim


async def written(fleet: Looping, claim: Claim) -> list[str]:
    events = await fleet.state.feed.read("acme", claim.run.run_id, after_seq=0, limit=99)
    return [event.payload.text for event in events if isinstance(event.payload, TextDelta)]


def text(payloads: list[Payload]) -> list[str]:
    return [payload.text for payload in payloads if isinstance(payload, TextDelta)]


async def test_what_comes_with_the_end_of_the_step_is_left_to_the_commit(fleet: Looping) -> None:
    claim = await claimed(fleet)
    emitter = Emitter(fleet.runs, claim.lease)
    emitter.put(TextDelta(text="It is "))
    emitter.put(TextDelta(text="42."))
    rest = await emitter.rest()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert text(rest) == ["It is 42."]
    assert fleet.runs.calls["emit"] == 0


async def test_the_first_text_goes_out_while_the_model_thinks(fleet: Looping) -> None:
    claim = await claimed(fleet)
    emitter = Emitter(fleet.runs, claim.lease)
    emitter.put(TextDelta(text="It"))
    await fleet.until(lambda: fleet.runs.calls["emit"] == 1)
    assert await written(fleet, claim) == ["It"]
    assert await emitter.rest() == []


async def test_text_joins_while_a_write_is_in_flight(fleet: Looping) -> None:
    claim = await claimed(fleet)
    emitter = Emitter(fleet.runs, claim.lease)
    gate = fleet.runs.held["emit"] = asyncio.Event()
    emitter.put(TextDelta(text="a"))
    await fleet.until(lambda: fleet.runs.calls["emit"] == 1)
    for letter in "bcd":
        emitter.put(TextDelta(text=letter))
    asyncio.get_running_loop().call_soon(gate.set)
    assert text(await emitter.rest()) == ["bcd"]
    assert await written(fleet, claim) == ["a"]


async def test_nothing_goes_out_after_the_end(fleet: Looping) -> None:
    claim = await claimed(fleet)
    emitter = Emitter(fleet.runs, claim.lease)
    emitter.put(TextDelta(text="a"))
    await emitter.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fleet.runs.calls["emit"] == 0


async def test_a_step_that_is_no_longer_ours_is_told_so(fleet: Looping) -> None:
    claim = await claimed(fleet)
    emitter = Emitter(fleet.runs, claim.lease)
    await fleet.runs.release(claim.lease)

    async def go_on() -> None:
        async with asyncio.timeout(20):
            while True:
                emitter.put(TextDelta(text="a"))
                await asyncio.sleep(0)

    with pytest.raises(StaleLease):
        await go_on()
    await emitter.close()
