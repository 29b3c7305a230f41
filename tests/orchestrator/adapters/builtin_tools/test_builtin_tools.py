import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.builtin_tools.registry import BuiltinTools, Tool
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec

NOON = datetime(2026, 11, 20, 14, 5, 59, tzinfo=UTC)


async def call(
    name: str, arguments: object, tools: BuiltinTools | None = None, *, timeout_s: float = 5.0
) -> ToolResult:
    tools = tools or builtin_tools(now=lambda: NOON)
    wish = ToolCall(call_id="call_1", name=name, arguments_json=json.dumps(arguments))
    return await tools.call(wish, key="run:1:call_1", timeout_s=timeout_s)


def error_of(result: ToolResult) -> str:
    assert not result.ok
    said = json.loads(result.content)
    assert list(said) == ["error"]
    return str(said["error"])


async def test_the_calculator_gives_a_plain_number() -> None:
    assert await call("calculator", {"expression": "437 * 12"}) == ToolResult(Outcome.OK, "5244")


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
    assert await call("current_time", {"timezone": timezone}) == ToolResult(Outcome.OK, told)


@pytest.mark.parametrize("timezone", ["Mars", "", "../../etc/passwd", "GMT+3", "UTC\x00"])
async def test_a_zone_that_does_not_exist_is_named(timezone: str) -> None:
    why = error_of(await call("current_time", {"timezone": timezone}))
    assert repr(timezone) in why
    assert "Europe/Paris" in why


@pytest.mark.parametrize("key", ["A1042", "a1042", " A1042 "])
async def test_lookup_gives_the_record_as_json(key: str) -> None:
    result = await call("lookup", {"key": key})
    assert result == ToolResult(
        Outcome.OK,
        '{"item": "desk lamp", "status": "shipped", "carrier": "DHL", '
        '"delivery_date": "2026-11-24"}',
    )


async def test_lookup_says_which_record_is_missing() -> None:
    assert "'Z99'" in error_of(await call("lookup", {"key": "Z99"}))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("1042", "A1042"),
        ("#A1042", "A1042"),
        ("a-1042", "A1042"),
        ("A 10 42", "A1042"),
        ("# 1042", "A1042"),
        ("P7", "P07"),
        ("p-7", "P07"),
        ("07", "P07"),
        ("7", "P07"),
    ],
)
async def test_lookup_names_the_record_that_was_likely_meant(key: str, meant: str) -> None:
    said = error_of(await call("lookup", {"key": key}))
    assert said == f"there is no record '{key}'; did you mean '{meant}'?"


@pytest.mark.parametrize("key", ["A1043", "B1042", "A104", "P007", "A", "", "#", "0", "\u0667"])
async def test_lookup_names_no_other_record_where_none_is_likely(key: str) -> None:
    said = error_of(await call("lookup", {"key": key}))
    assert said == (
        f"there is no record '{key}'; orders have keys such as A1042, products such as P07"
    )


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (("A17", "B17"), "orders have keys"),
        (("A17", "17-0"), "did you mean 'A17'?"),
        (("A17", "1-7"), "did you mean '1-7'?"),
        (("A17", "A017"), "orders have keys"),
        (("X/17", "long-name-17"), "orders have keys"),
    ],
)
async def test_lookup_names_a_record_only_when_no_other_is_as_likely(
    records: tuple[str, ...], said: str
) -> None:
    tools = builtin_tools(records={key: {} for key in records})
    assert said in error_of(await call("lookup", {"key": "17"}, tools))


async def test_lookup_reads_other_records_when_given_some() -> None:
    tools = builtin_tools(records={"X1": {"ok": "é"}})
    assert (await call("lookup", {"key": "x1"}, tools)).content == '{"ok": "\\u00e9"}'


async def test_what_a_tool_can_not_do_is_a_failure_that_says_why() -> None:
    result = await call("calculator", {"expression": "1 / 0"})
    assert result.outcome is Outcome.FAILED
    assert "division by zero" in error_of(result)


async def test_units_are_converted() -> None:
    asked = {"amount": 5, "from": "kilometers", "to": "miles"}
    assert await call("convert_units", asked) == ToolResult(Outcome.OK, "3.1069 miles")
    said = error_of(await call("convert_units", {**asked, "to": "pounds"}))
    assert said == "cannot convert kilometers to pounds"


def test_the_tools_are_pure_and_described() -> None:
    specs = builtin_tools().specs()
    assert list(specs) == ["calculator", "current_time", "lookup", "convert_units"]
    assert {(spec.effect, spec.kind) for spec in specs.values()} == {(Effect.PURE, "builtin")}
    assert all(spec.schema.description for spec in specs.values())


async def test_a_tool_that_takes_too_long_is_stopped() -> None:
    stopped = asyncio.Event()

    async def hang(_: Mapping[str, Any]) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    schema = ToolSchema(name="odd", description="Odd.", parameters={"type": "object"})
    tools = BuiltinTools([Tool(ToolSpec(schema=schema), hang)])
    result = await call("odd", {}, tools, timeout_s=0.01)
    assert error_of(result) == "odd took longer than 0.01 s"
    assert stopped.is_set()
