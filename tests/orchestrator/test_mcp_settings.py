"""MCP servers of the settings: described, pinned with the command, and called."""

import asyncio
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from orchestrator.cli import main
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Outcome
from orchestrator.settings import McpServer, Settings, load_settings
from orchestrator.tool_composition import ToolSetupError, open_tools
from tests.orchestrator.adapters.mcp_tools.serving import http_server

PROGRAM = Path(__file__).parent / "adapters" / "mcp_tools" / "server_program.py"
PIN = f"sha256:{'0' * 64}"


def settings_file(folder: Path, extra: str = "") -> Path:
    file = folder / "fleet.toml"
    file.write_text(
        f"home = '{folder}/home'\n[tools.mcp.notes]\ncommand = '{sys.executable}'\n"
        f"args = ['{PROGRAM}', '{folder}']\n{extra}"
    )
    return file


def fleet(folder: Path, *words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, words, env={"FLEET_CONFIG": str(folder / "fleet.toml")})
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({}, "either command or url"),
        ({"command": "a", "url": "https://b"}, "either command or url"),
        ({"url": "https://b", "args": ["c"]}, "belong to command"),
        ({"command": "a", "headers": {"b": "c"}}, "belong to url"),
        ({"command": "a", "tools": {"b": "md5:0"}}, "sha256"),
    ],
)
def test_a_contradictory_server_is_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        McpServer.model_validate(section)


async def test_a_server_on_a_host_that_is_not_listed_is_refused() -> None:
    settings = Settings.model_validate(
        {"tools": {"mcp": {"notes": {"url": "http://10.0.0.1:8080/mcp"}}}}
    )
    with pytest.raises(ToolSetupError, match=r"tools\.internal_hosts"):
        async with open_tools(settings, calling=False):
            pass


async def test_a_missing_secret_matters_only_where_tools_are_called(tmp_path: Path) -> None:
    settings = load_settings(settings_file(tmp_path, "env = { T = { env = 'NOT_SET_ANYWHERE' } }"))
    async with open_tools(settings, calling=False):
        pass
    with pytest.raises(ToolSetupError, match="NOT_SET_ANYWHERE"):
        async with open_tools(settings, calling=True):
            pass


async def test_tools_that_the_command_pins_are_offered_and_called(tmp_path: Path) -> None:
    file = settings_file(tmp_path)
    code, lines, said = await _in_thread(tmp_path, "tools", "pin", "notes")
    assert code == 0, said
    file.write_text(file.read_text() + lines)
    settings = load_settings(file)
    async with open_tools(settings, calling=False) as shown:
        assert "notes_add" in shown.specs()
    assert len((tmp_path / "journal").read_text().splitlines()) == 1  # only the command started it
    async with open_tools(settings, calling=True) as tools:
        call = ToolCall(call_id="1", name="notes_add", arguments_json='{"a": 1, "b": 2}')
        assert (await tools.call(call, key="k", timeout_s=30)).content == "3"


async def test_pinning_again_tells_what_changed_and_keeps_what_is_pinned(tmp_path: Path) -> None:
    file = settings_file(tmp_path)
    _, lines, _ = await _in_thread(tmp_path, "tools", "pin", "notes")
    file.write_text(file.read_text() + lines + f'"gone" = "{PIN}"\n')
    (tmp_path / "changed").touch()
    code, again, _ = await _in_thread(tmp_path, "tools", "pin", "notes")
    assert code == 0
    assert "# changed: Adds two numbers and tells somebody else." in again
    assert "# as pinned: Fails." in again
    assert "# gone: gone" in again
    async with open_tools(load_settings(file), calling=False) as shown:
        assert shown.specs()["notes_add"].schema.description == "Adds two numbers."


async def test_a_server_that_can_not_be_started_is_told(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text("[tools.mcp.notes]\ncommand = 'no-such-program'\n")
    code, _, said = await _in_thread(tmp_path, "tools", "pin", "notes")
    assert code == 3
    assert "no-such-program" in said
    code, _, said = await _in_thread(tmp_path, "tools", "pin", "other")
    assert code == click.UsageError.exit_code
    assert "the servers are: notes" in said


async def test_a_server_over_http_is_reached_only_where_it_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    call = ToolCall(call_id="1", name="web_add", arguments_json='{"a": 1, "b": 2}')
    async with http_server(tmp_path) as endpoint:
        file, place = tmp_path / "fleet.toml", endpoint.url.split("/")[2]
        home = f"home = '{tmp_path}/home'\n"
        web = f"[tools.mcp.web]\nurl = '{endpoint.url}'\n"
        file.write_text(f"{home}[tools]\ninternal_hosts = ['{place}']\n{web}")
        code, lines, said = await _in_thread(tmp_path, "tools", "pin", "web")
        assert code == 0, said
        file.write_text(file.read_text() + lines)
        async with open_tools(load_settings(file), calling=True) as tools:
            assert (await tools.call(call, key="k", timeout_s=30)).content == "3"
        file.write_text(f"{home}[tools]\nhosts = ['127.0.0.1']\n{web}{lines}")
        async with open_tools(load_settings(file), calling=True) as tools:
            refused = await tools.call(call, key="k", timeout_s=30)
    assert refused.outcome is Outcome.TRANSIENT
    assert "not public" in caplog.text


async def _in_thread(folder: Path, *words: str) -> tuple[int, str, str]:
    """The command runs a loop of its own, which a test's thread can't."""
    return await asyncio.to_thread(fleet, folder, *words)
