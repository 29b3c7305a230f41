from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.composition import ServeError, serve_api, serve_toolbox, serve_worker
from orchestrator.settings import Settings, SettingsError, load_settings
from orchestrator.tool_composition import ToolSetupError, open_tools

SHIP = """
[tools]
hosts = ["api.shop.example"]
[tools.http.ship]
url = "https://api.shop.example/ship"
description = "Ship."
parameters = { type = "object" }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FLEET_CONFIG", "SHOP_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def settings_of(text: str) -> Settings:
    Path("fleet.toml").write_text(text)
    return load_settings()


async def opened(text: str, *, calling: bool = True) -> list[str]:
    async with open_tools(settings_of(text), calling=calling) as tools:
        return list(tools.specs())


async def test_without_settings_there_are_the_built_in_tools() -> None:
    assert await opened("") == ["calculator", "current_time", "lookup", "convert_units"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tools]\nmax_output_bytes = 1\n", "tools.max_output_bytes: Input should be greater"),
        ('[tools]\nhosts = ["shop.test:80"]\n', "'shop.test:80' must be a host's name"),
        ('[tools]\nhosts = ["*.shop.test"]\n', "must be a host's name, with no port and no *"),
        ('[tools]\ninternal_hosts = ["shop.test"]\n', "'shop.test' must be written host:port"),
        ('[tools.python.x]\nfunction = "no_colon"\n', "tools.python.x.function: String should"),
        ('[tools.python."x y"]\nfunction = "a:b"\n', "tools.python.x y"),
        (SHIP + 'method = "TRACE"\n', "tools.http.ship.method"),
        (SHIP + "redirect = 1\n", "tools.http.ship.redirect: there is no such setting"),
        (SHIP + 'effect = "harmless"\n', "tools.http.ship.effect"),
        (SHIP + "headers.X = { prefix = 'a' }\n", "must name either env or file"),
        (SHIP + "retry = { max_attempts = 0 }\n", "tools.http.ship.retry.max_attempts"),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        await opened(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHIP.replace("hosts", "internal_hosts").replace('example"]', 'example:80"]'), "not allow"),
        (SHIP.replace("[tools.http.ship]", "[tools.http.lookup]"), "two tools are named 'lookup'"),
        (SHIP.replace('"object"', '"text"'), "tool 'ship': its schema must have"),
        (SHIP.replace('= "Ship."', '= "Ship."\nmethod = "GET"\narguments = "body"'), "no body"),
        (SHIP + "headers.Host = 'a'\n", "the header Host is set by the service"),
        (SHIP + "headers.X = { env = 'SHOP_TOKEN' }\n", "SHOP_TOKEN is empty or not set"),
        (SHIP + "headers.X = { file = 'no_file' }\n", "no_file can't be read: No such file"),
        ('[tools.python.x]\nfunction = "json:dumps"\n', "tool 'x': dumps: "),
        ('[toolbox]\nlookup_file = "none.json"\n', "toolbox.lookup_file none.json can't be read"),
    ],
)
async def test_tools_that_can_not_be_made_stop_the_start_with_a_sentence(
    text: str, says: str
) -> None:
    with pytest.raises(ToolSetupError) as refused:
        await opened(text)
    assert says in str(refused.value)


async def test_only_who_calls_the_tools_reads_their_secrets() -> None:
    text = SHIP + "headers.X = { env = 'SHOP_TOKEN' }\n"
    assert "ship" in await opened(text, calling=False)


async def test_a_secret_is_read_from_a_file_and_hides_in_repr(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    text = SHIP + "headers.X = { file = 'token' }\nheaders.Y = 'hunter3'\n"
    assert "ship" in await opened(text)
    assert "hunter" not in repr(load_settings())


@pytest.mark.parametrize("serve", [serve_api, serve_worker, serve_toolbox])
async def test_every_process_refuses_wrong_tools_at_once_though_the_store_is_away(
    serve: Callable[[Settings, asyncio.Event], Awaitable[None]],
) -> None:
    away = 'redis.url = "redis://127.0.0.1:1/0"\n[api]\nmetrics_port = 0\n'
    ports = "[worker]\nmetrics_port = 0\n[toolbox]\nmetrics_port = 0\n"
    settings = settings_of(away + ports + SHIP.replace('shop.example"]', 'other.example"]'))
    with pytest.raises(ServeError, match="HTTP tool 'ship': its host"):
        await serve(settings, asyncio.Event())
