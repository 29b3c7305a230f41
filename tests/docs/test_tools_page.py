"""The examples of docs/tools.md run as they are written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome, ToolResult
from orchestrator.settings import load_settings
from orchestrator.tool_composition import open_tools, runner_settings
from orchestrator.toolbox.runner import ToolRunner
from tests.orchestrator.adapters.http_tools.serving import said, serving

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text("utf-8")


def block(language: str, first_line: str) -> str:
    found = re.search(rf"```{language}\n{re.escape(first_line)}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's module and settings."""
    (tmp_path / "shop_tools.py").write_text(block("python", "# shop_tools.py"))
    (tmp_path / "fleet.toml").write_text(block("toml", "# fleet.toml"))
    package = tmp_path / "shop-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    table = block("toml", "# pyproject.toml of the package")
    pairs = [line.replace('"', "") for line in table.splitlines() if line.startswith("convert")]
    (package / "entry_points.txt").write_text("\n".join(["[agent_fleet.tools]", *pairs]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")
    yield tmp_path
    sys.modules.pop("shop_tools", None)


async def test_each_kind_of_tool_is_called_as_the_page_says(folder: Path) -> None:
    async with serving(said(201, b'{"shipped": true}', Content_Type="application/json")) as server:
        settings_file = folder / "fleet.toml"
        settings_file.write_text(settings_file.read_text().replace("8900", str(server.port)))
        settings = load_settings()
        async with open_tools(settings, calling=True) as tools:
            runner = ToolRunner(tools, runner_settings(settings))

            async def call(name: str, arguments: object) -> ToolResult:
                wish = ToolCall(call_id="c", name=name, arguments_json=json.dumps(arguments))
                spec = tools.specs()[name]
                result = await runner.run(spec, wish, key="run_1:1:c", remaining_s=30.0)
                assert isinstance(result, ToolResult)
                return result

            assert (await call("calculator", {"expression": "6 * 7"})).content == "42"
            assert (await call("convert", {"amount": 10})).content == "11.00 USD"
            assert (await call("convert", {"amount": 0})).outcome is Outcome.FAILED
            assert (await call("refund_order", {"order": "A1"})).content == '{"refund":"R-A1"}'
            assert (await call("refund_order", {"order": "B1"})).outcome is Outcome.FAILED
            assert (await call("refund_order", {"order": "A0"})).outcome is Outcome.TRANSIENT
            assert (await call("ship_order", {"order": "../1"})).outcome is Outcome.FAILED
            shipped = await call("ship_order", {"order": "A7", "express": True})
            assert shipped.content == '{"shipped": true}'
            assert tools.specs()["refund_order"].timeout_s == 8.0
    (request,) = server.seen
    assert (request.target, request.body) == ("/orders/A7/shipments", b'{"express": true}')
    assert request.headers["authorization"] == "Bearer hunter2"
    assert request.headers["x-shop"] == "main"
    assert request.headers["idempotency-key"] == "run_1:1:c"


def test_the_command_lists_them_without_their_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_TOKEN")
    shown = CliRunner().invoke(main, ["tools", "list"])
    assert shown.exit_code == 0, shown.output
    rows = {line.split()[0]: line.split()[1:] for line in shown.output.splitlines()}
    assert rows["calculator"] == ["builtin", "pure", "2", "s", "no"]
    assert rows["convert"] == ["python", "pure", "10", "s", "no"]
    assert rows["refund_order"] == ["python", "idempotent", "8", "s", "no"]
    assert rows["ship_order"] == ["http", "idempotent", "5", "s", "no"]
    lines = CliRunner().invoke(main, ["tools", "list", "--json"]).output.splitlines()
    assert {json.loads(line)["schema"]["name"] for line in lines} == set(rows) - {"TOOL"}


def test_the_command_says_what_is_wrong(folder: Path) -> None:
    settings_file = folder / "fleet.toml"
    settings_file.write_text(settings_file.read_text().replace("shop_tools:refund", "shop:none"))
    shown = CliRunner().invoke(main, ["tools", "list"])
    assert shown.exit_code == 2
    assert "tool 'refund_order': shop can't be imported" in shown.output
