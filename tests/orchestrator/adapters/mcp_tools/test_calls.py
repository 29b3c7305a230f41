"""Calls to real servers, over stdio and streamable HTTP, before and since 2026-07-28."""

import asyncio
import json

import pytest

from orchestrator.domain.tools import Outcome, ToolResult
from tests.orchestrator.adapters.mcp_tools.serving import Running


async def test_a_call_gives_the_tools_answer(running: Running) -> None:
    assert await running.call("add", a=437, b=12) == ToolResult(Outcome.OK, "449")


async def test_calls_run_at_the_same_time_and_in_one_session(running: Running) -> None:
    calls = [asyncio.create_task(running.call("hold", name=f"p{n}")) for n in range(8)]
    for n in range(8):
        await running.told(f"started p{n}")
    for n in reversed(range(8)):
        running.release(f"p{n}")
    results = await asyncio.gather(*calls)
    assert [result.content for result in results] == [f"held p{n}" for n in range(8)]
    assert len(running.pids()) == 1


async def test_an_error_of_the_tool_is_a_failure_with_its_words(running: Running) -> None:
    result = await running.call("fail")
    assert result.outcome is Outcome.FAILED
    assert "the shelf is empty" in result.content


async def test_a_cancelled_call_is_cancelled_at_the_server_and_harms_no_other(
    running: Running,
) -> None:
    kept = asyncio.create_task(running.call("hold", name="kept"))
    left = asyncio.create_task(running.call("hold", name="left"))
    await running.told("started left")
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    await running.told("cancelled left")
    assert (await running.call("add", a=1, b=2)).content == "3"
    running.release("kept")
    assert (await kept).content == "held kept"


async def test_an_answer_of_any_size_costs_no_more_than_the_bound(running: Running) -> None:
    result = await running.call("huge", size=20_000_000)
    assert not result.ok
    assert len(result.content) < 1_000
    assert (await running.call("huge", size=100_000)).content == "x" * 100_000
    assert (await running.call("add", a=1, b=2)).content == "3"


async def test_structured_content_is_told_once_as_json(running: Running) -> None:
    result = await running.call("weather", city="Oslo")
    assert json.loads(result.content) == {"city": "Oslo", "celsius": 21}


async def test_images_are_told_by_type_and_size(running: Running) -> None:
    result = await running.call("picture")
    assert result == ToolResult(Outcome.OK, "a cat\n[image image/png, 9 bytes]")


async def test_a_server_that_asks_for_our_model_is_refused(running: Running) -> None:
    result = await running.call("ask_back")
    assert result.outcome is Outcome.FAILED


async def test_the_idempotency_key_goes_with_the_call(running: Running) -> None:
    assert (await running.call("key")).content == "run:1:1"
