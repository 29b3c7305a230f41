"""A tool that is not what a person looked at is not called."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.adapters.mcp_tools import PinnedTool
from orchestrator.domain.tools import Outcome
from tests.orchestrator.adapters.mcp_tools.serving import (
    connected,
    server,
    serving,
    stdio_endpoint,
    until,
)


@pytest.mark.parametrize("kind", ["stdio", "stdio --legacy", "http", "http --legacy"])
async def test_a_tool_that_changes_while_it_is_used_is_refused_from_then_on(
    kind: str, tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with serving(kind, tmp_path, known) as running:
        assert (await running.call("add", a=1, b=2)).ok
        assert (await running.call("change")).ok
        await until(lambda: running.seen.refusals == [("test", "add")])
        refused = await running.call("add", a=1, b=2)
        assert refused.outcome is Outcome.FAILED
        assert "was pinned" in refused.content
        assert (await running.call("key")).ok


async def test_a_tool_that_changed_or_vanished_before_the_start_is_refused(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    add = next(tool for tool in known if tool.name == "add")
    others = [tool for tool in known if tool.name != "add"]
    changed = replace(add, description="Adds two numbers, once upon a time.")
    gone = replace(add, name="subtract")
    pinned = server(tmp_path, stdio_endpoint(tmp_path), [changed, gone, *others])
    async with connected(pinned, tmp_path) as running:
        for name, why in (("add", "was pinned"), ("subtract", "does not have the tool")):
            refused = await running.call(name, a=1, b=2)
            assert refused.outcome is Outcome.FAILED
            assert why in refused.content
        assert sorted(running.seen.refusals) == [("test", "add"), ("test", "subtract")]
        assert (await running.call("key")).ok


async def test_a_tool_that_is_not_pinned_is_not_offered(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    pinned = server(tmp_path, stdio_endpoint(tmp_path), known)
    add = {"add": pinned.pins["add"]}
    async with connected(replace(pinned, pins=add), tmp_path) as running:
        assert list(running.tools.specs()) == ["test_add"]
        assert (await running.call("add", a=1, b=2)).ok
        assert (await running.call("key")).outcome is Outcome.FAILED


async def test_a_server_with_nothing_pinned_is_not_even_started(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    pinned = server(tmp_path, stdio_endpoint(tmp_path), known)
    async with connected(replace(pinned, pins={}), tmp_path) as running:
        assert running.tools.specs() == {}
    assert running.journal() == []
