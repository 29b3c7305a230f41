"""The programs we start: what they get, and that they end."""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.adapters.mcp_tools import PinnedTool, StdioEndpoint
from tests.orchestrator.adapters.mcp_tools.serving import (
    PROGRAM,
    Running,
    alive,
    connected,
    server,
    serving,
    stdio_endpoint,
    until,
)

ROOT = Path(__file__).parents[4]


async def test_a_program_gets_what_is_declared_and_none_of_our_secrets(
    tmp_path: Path, known: Sequence[PinnedTool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_REDIS__URL", "redis://:secret@elsewhere")
    endpoint = stdio_endpoint(tmp_path, TOKEN="its own")
    async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
        env = json.loads((await running.call("environment")).content)["env"]
    assert env["TOKEN"] == "its own"
    assert env.keys() <= {"PATH", "HOME", "LANG", "LC_CTYPE", "TOKEN"}
    assert "its own" not in repr(endpoint)


@pytest.mark.parametrize("flags", [(), ("--stubborn",)])
async def test_no_program_is_left_when_the_tools_are_closed(
    flags: tuple[str, ...], tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    endpoint = stdio_endpoint(tmp_path, *flags)
    async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
        held = asyncio.create_task(running.call("hold", name="a"))
        await running.told("started a")
        assert alive(running.pids()[0])
    await held
    assert not alive(running.pids()[0])


async def test_closing_while_a_program_starts_leaves_none(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    async with serving("stdio --stubborn", tmp_path, known) as running:
        await until(lambda: bool(running.pids()))
    assert not alive(running.pids()[0])


async def test_a_program_dies_with_a_toolbox_that_is_killed(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    server(tmp_path, stdio_endpoint(tmp_path), known)
    script = (
        "import asyncio\nfrom pathlib import Path\n"
        "from tests.orchestrator.adapters.mcp_tools.serving import *\n"
        "from orchestrator.adapters.mcp_tools.pins import read_pins\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "async def main():\n"
        "    known = list(read_pins(folder / 'pins.json').values())\n"
        "    async with serving('stdio --stubborn', folder, known) as running:\n"
        "        await running.call('hold', name='a')\n"
        "asyncio.run(main())\n"
    )
    toolbox = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT)
    try:
        watched = Running(None, tmp_path, None)  # type: ignore[arg-type]
        await watched.told("started a")
        (program,) = watched.pids()
        assert alive(program)
    finally:
        toolbox.kill()
        await toolbox.wait()
    await until(lambda: not alive(program))
    assert not alive(program)


@pytest.mark.parametrize(("level", "heard"), [(logging.INFO, False), (logging.DEBUG, True)])
async def test_what_a_program_says_is_logged_in_part_and_only_for_debugging(
    level: int,
    heard: bool,
    tmp_path: Path,
    known: Sequence[PinnedTool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(level, "orchestrator.adapters.mcp_tools"):
        async with serving("stdio", tmp_path, known) as running:
            assert (await running.call("key")).ok
            await until(lambda: not heard or "is not logged" in caplog.text)
    assert ("noise on standard error" in caplog.text) is heard
    assert len(caplog.text) < 1024 * 1024


async def test_a_program_that_closes_its_output_but_lives_is_started_again(
    tmp_path: Path, known: Sequence[PinnedTool]
) -> None:
    mute = tmp_path / "mute"
    mute.write_text(
        f"#!/bin/sh\nif [ -e {tmp_path}/second ]; then exec {sys.executable} {PROGRAM} {tmp_path}\n"
        f"fi\ntouch {tmp_path}/second\necho $$ > {tmp_path}/mute.pid\nexec >&-\nexec sleep 100\n"
    )
    mute.chmod(0o755)
    endpoint = StdioEndpoint(str(mute))
    async with connected(server(tmp_path, endpoint, known), tmp_path) as running:
        await until(lambda: running.seen.up.get("test", False))
        assert (await running.call("add", a=1, b=2)).ok
        assert not alive(int((tmp_path / "mute.pid").read_text()))
