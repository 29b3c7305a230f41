from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from orchestrator.adapters.python_tools import (
    PythonTools,
    ToolFailed,
    ToolLoadError,
    ToolUnavailable,
    tool,
)
from orchestrator.adapters.python_tools.declaration import declared
from orchestrator.domain.chat import ToolSchema
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec

KEY = "run_1:2:call_3"


class Place(BaseModel):
    city: str
    zip_code: str = ""


@tool(effect=Effect.PURE, timeout_s=3.0)
def distance(start: Place, end: Place, unit: Literal["km", "mi"] = "km") -> str:
    """Tell how far two
    places are apart.

    The rest is for programmers.
    """
    return f"{start.city} to {end.city} in {unit}"


async def call(
    tools: PythonTools | Callable[..., Any], arguments: object = None, *, timeout_s: float = 10.0
) -> ToolResult:
    if not isinstance(tools, PythonTools):
        tools = PythonTools([declared(tools, name="odd")])
    (name, *_) = tools.specs()
    written = json.dumps({} if arguments is None else arguments)
    wish = ToolCall(call_id="call_3", name=name, arguments_json=written)
    return await tools.call(wish, key=KEY, timeout_s=timeout_s)


def test_the_schema_is_that_of_the_annotated_parameters() -> None:
    spec = declared(distance).spec
    assert (spec.schema.name, spec.schema.description) == (
        "distance",
        "Tell how far two places are apart.",
    )
    parameters = spec.schema.parameters
    assert parameters["required"] == ["start", "end"]
    assert parameters["properties"]["unit"] == {
        "default": "km",
        "enum": ["km", "mi"],
        "type": "string",
    }
    assert parameters["$defs"]["Place"]["properties"]["city"] == {"type": "string"}
    assert (spec.effect, spec.timeout_s, spec.kind) == (Effect.PURE, 3.0, "python")


def test_a_function_that_says_nothing_of_its_effect_is_never_run_twice() -> None:
    def plain(a: Annotated[int, Field(description="A number.", ge=1)]) -> None: ...

    spec = declared(plain).spec
    assert spec.effect is Effect.AT_MOST_ONCE
    assert spec.schema.parameters["properties"]["a"] == {
        "description": "A number.",
        "minimum": 1,
        "type": "integer",
    }


async def test_a_function_gets_what_its_types_say() -> None:
    result = await call(distance, {"start": {"city": "Rome"}, "end": {"city": "Oslo"}})
    assert result == ToolResult(Outcome.OK, "Rome to Oslo in km")


async def test_arguments_that_only_the_types_can_refuse_are_refused() -> None:
    result = await call(distance, {"start": {"city": "Rome"}, "end": {}})
    assert result.outcome is Outcome.FAILED
    assert "arguments.end.city" in result.content


async def test_a_parameter_for_the_key_gets_it_and_is_not_the_models() -> None:
    def pay(amount: int, idempotency_key: str) -> str:
        return f"{amount} under {idempotency_key}"

    assert "idempotency_key" not in declared(pay).spec.schema.parameters["properties"]
    assert (await call(pay, {"amount": 3})).content == f"3 under {KEY}"


async def test_with_a_spec_the_function_gets_plain_json() -> None:
    schema = ToolSchema("raw", "Raw.", {"type": "object", "additionalProperties": True})

    @tool(spec=ToolSpec(schema, effect=Effect.IDEMPOTENT))
    async def raw(**arguments: Any) -> Any:
        return arguments

    tools = PythonTools([declared(raw)])
    assert tools.specs()["raw"].effect is Effect.IDEMPOTENT
    assert (await call(tools, {"a": [1, {"b": None}]})).content == '{"a":[1,{"b":null}]}'


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        (None, "done"),
        (b"a\xff", "a\ufffd"),
        ({"a": 1}, '{"a":1}'),
        ([Point(1)], '[{"x":1}]'),
        (Place(city="Rome"), '{"city":"Rome","zip_code":""}'),
        (object(), "done; the result, a object, has no text"),
    ],
)
async def test_whatever_a_function_returns_is_shown_as_text(value: Any, content: str) -> None:
    assert await call(lambda: value) == ToolResult(Outcome.OK, content)


@pytest.mark.parametrize(
    ("error", "outcome", "content"),
    [
        (ToolFailed("no such order"), Outcome.FAILED, "no such order"),
        (ToolUnavailable("closed on Sundays"), Outcome.TRANSIENT, "closed on Sundays"),
        (LookupError("secret"), Outcome.UNKNOWN, "odd failed"),
        (TimeoutError("secret"), Outcome.UNKNOWN, "odd failed"),
        (StopIteration("secret"), Outcome.UNKNOWN, "odd failed"),
        (SystemExit("secret"), Outcome.UNKNOWN, "odd failed"),
    ],
)
async def test_what_a_function_raises_says_what_became_of_the_call(
    error: BaseException, outcome: Outcome, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    with caplog.at_level(logging.DEBUG):
        result = await call(fail)
    assert (result.outcome, json.loads(result.content)) == (outcome, {"error": content})
    assert "secret" not in caplog.text


async def test_an_async_function_that_takes_too_long_is_cancelled() -> None:
    stopped = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    result = await call(hang, timeout_s=0.05)
    assert result.outcome is Outcome.UNKNOWN
    assert stopped.is_set()


def hanging(gate: threading.Event) -> Callable[[], str]:
    def hang() -> str:
        gate.wait(60)
        return "late"

    return hang


async def eventually(met: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 10 s")


async def test_a_blocking_function_that_hangs_keeps_its_thread_and_not_the_loop() -> None:
    with ExitStack() as opened:
        gate = threading.Event()
        opened.callback(gate.set)
        tools = PythonTools([declared(hanging(gate), name="hang")], threads=4)
        calls = [asyncio.create_task(call(tools, timeout_s=0.05)) for _ in range(3)]
        results = await asyncio.gather(*calls)
        assert [r.outcome for r in results] == [
            Outcome.UNKNOWN,
            Outcome.UNKNOWN,
            Outcome.TRANSIENT,  # only half of the threads are one tool's
        ]
        assert (await call(tools)).outcome is Outcome.TRANSIENT
        gate.set()
        await eventually(lambda: not tools.threads.busy("hang"))
        assert (await call(tools)).content == "late"


async def test_a_hanging_function_leaves_threads_to_the_others() -> None:
    with ExitStack() as opened:
        gate = threading.Event()
        opened.callback(gate.set)
        both = [
            declared(distance, name="distance"),
            declared(hanging(gate), name="hang"),
        ]
        tools = PythonTools(both, threads=2)
        hang = ToolCall(call_id="c", name="hang", arguments_json="{}")
        await tools.call(hang, key=KEY, timeout_s=0.01)
        await tools.call(hang, key=KEY, timeout_s=0.01)
        assert (await call(tools, {"start": {"city": "A"}, "end": {"city": "B"}})).ok
        gate.set()
        await eventually(lambda: not tools.threads.busy("hang"))


async def test_a_cancelled_call_stays_cancelled() -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call(cancel)


def untyped(a, b: int) -> None:  # type: ignore[no-untyped-def]
    """Untyped."""


def starred(*a: int) -> None: ...
def schemaless(a: threading.Event) -> None: ...
def undefined(a: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (untyped, "untyped: parameter 'a' has no type"),
        (starred, "name each argument"),
        (schemaless, "have no JSON Schema"),
        (undefined, "'Nowhere' is not defined"),
    ],
)
def test_a_function_that_can_not_be_described_is_refused(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(ToolLoadError, match=why):
        declared(function)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolLoadError, match="two Python tools are named 'distance'"):
        PythonTools([declared(distance), declared(distance)])


ENDS = """
import asyncio, threading
from orchestrator.adapters.python_tools.threads import Threads

async def main():
    try:
        async with asyncio.timeout(0.05):
            await Threads(2).run("hang", threading.Event().wait)
    except TimeoutError:
        print("gave up")

asyncio.run(main())
"""


def test_a_hanging_function_does_not_keep_the_process_from_ending() -> None:
    program = [sys.executable, "-c", ENDS]
    ended = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "gave up\n"
