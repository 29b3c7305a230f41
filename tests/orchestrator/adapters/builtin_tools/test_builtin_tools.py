import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.builtin_tools.registry import BuiltinTools, Run, Tool
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, ToolResult, ToolSpec

NOON = datetime(2026, 11, 20, 14, 5, 59, tzinfo=UTC)


async def call(name: str, arguments: object, tools: BuiltinTools | None = None) -> ToolResult:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    tools = tools or builtin_tools(now=lambda: NOON)
    wish = ToolCall(call_id="call_1", name=name, arguments_json=written)
    return await tools.call(wish, key="run:1:call_1")


def error_of(result: ToolResult) -> str:
    assert not result.ok
    said = json.loads(result.content)
    assert list(said) == ["error"]
    return str(said["error"])


async def test_the_calculator_gives_a_plain_number() -> None:
    assert await call("calculator", {"expression": "437 * 12"}) == ToolResult(True, "5244")


@pytest.mark.parametrize(
    ("timezone", "told"),
    [
        ("UTC", "2026-11-20 14:05 Friday UTC"),
        ("Asia/Tokyo", "2026-11-20 23:05 Friday Asia/Tokyo"),
        ("Pacific/Auckland", "2026-11-21 03:05 Saturday Pacific/Auckland"),
        ("america/new_york", "2026-11-20 09:05 Friday America/New_York"),
        ("New York", "2026-11-20 09:05 Friday America/New_York"),
        ("Delhi", "2026-11-20 19:35 Friday Asia/Kolkata"),
        (" paris ", "2026-11-20 15:05 Friday Europe/Paris"),
    ],
)
async def test_the_time_is_told_by_zone_and_by_city(timezone: str, told: str) -> None:
    assert await call("current_time", {"timezone": timezone}) == ToolResult(True, told)


@pytest.mark.parametrize("timezone", ["Mars", "", "../../etc/passwd", "GMT+3", "UTC\x00"])
async def test_a_zone_that_does_not_exist_is_named(timezone: str) -> None:
    why = error_of(await call("current_time", {"timezone": timezone}))
    assert repr(timezone) in why
    assert "Europe/Paris" in why


@pytest.mark.parametrize("key", ["A1042", "a1042", " A1042 "])
async def test_lookup_gives_the_record_as_json(key: str) -> None:
    result = await call("lookup", {"key": key})
    assert result == ToolResult(
        ok=True,
        content='{"item": "desk lamp", "status": "shipped", "carrier": "DHL", '
        '"delivery_date": "2026-11-24"}',
    )


async def test_lookup_says_which_record_is_missing() -> None:
    assert "'Z99'" in error_of(await call("lookup", {"key": "Z99"}))


async def test_lookup_reads_other_records_when_given_some() -> None:
    tools = builtin_tools(records={"X1": {"ok": "é"}})
    assert (await call("lookup", {"key": "x1"}, tools)).content == '{"ok": "\\u00e9"}'


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "not a JSON object"),
        ("{", "not a JSON object"),
        ("[" * 9_000, "not a JSON object"),
        ('{"expression": "' + "1" * 20_000 + '"}', "longer than 16384"),
        ("[1]", "not of type 'object'"),
        ("null", "not of type 'object'"),
        ({}, "'expression' is a required property"),
        ({"expression": 7}, "arguments.expression: 7 is not of type 'string'"),
        ({"expression": "1", "precision": 3}, "'precision' was unexpected"),
        ({"expression": "1 / 0"}, "division by zero"),
    ],
)
async def test_wrong_arguments_are_a_result_that_says_why(arguments: object, why: str) -> None:
    assert why in error_of(await call("calculator", arguments))


async def test_an_unknown_tool_is_a_result_that_names_the_tools() -> None:
    why = error_of(await call("shell", {}))
    assert "'shell'" in why
    assert "calculator, current_time, lookup" in why


def test_tools_are_pure_and_selected_in_the_order_asked() -> None:
    tools = builtin_tools()
    chosen = tools.select(["lookup", "shell", "calculator"])
    assert [spec.schema.name for spec in chosen] == ["lookup", "calculator"]
    assert {spec.effect for spec in tools.specs().values()} == {Effect.PURE}
    assert all(spec.schema.description for spec in tools.specs().values())


def one_tool(run: Run, *, timeout_s: float = 5.0) -> BuiltinTools:
    schema = ToolSchema(name="odd", description="Odd.", parameters={"type": "object"})
    return BuiltinTools([Tool(ToolSpec(schema=schema, timeout_s=timeout_s), run)])


async def test_a_tool_that_takes_too_long_is_stopped() -> None:
    stopped = asyncio.Event()

    async def hang(_: Mapping[str, Any]) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    result = await call("odd", {}, one_tool(hang, timeout_s=0.01))
    assert error_of(result) == "odd took longer than 0.01 s"
    assert stopped.is_set()


async def test_a_defect_in_a_tool_is_a_result_without_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: Mapping[str, Any]) -> str:
        raise LookupError("secret")

    with caplog.at_level(logging.DEBUG):
        result = await call("odd", {}, one_tool(fail))
    assert error_of(result) == "odd failed"
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_cancelled_call_stays_cancelled() -> None:
    async def cancel(_: Mapping[str, Any]) -> str:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call("odd", {}, one_tool(cancel))


async def test_a_long_result_is_cut() -> None:
    async def talk(_: Mapping[str, Any]) -> str:
        return "ab" * 9_000

    content = (await call("odd", {}, one_tool(talk))).content
    assert content == "ab" * 1_999 + "a…"
