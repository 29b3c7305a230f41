from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.supervisor import leftovers
from orchestrator.supervisor.process import ProcessUnit, Spec
from orchestrator.supervisor.unit import StartError

SERVE = "import pathlib, time; pathlib.Path({mark!r}).touch(); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVE


def unit(
    tmp_path: Path, code: str, *, said: list[str] | None = None, grace_s: float = 5.0
) -> ProcessUnit:
    mark = tmp_path / "serving"

    async def ready() -> bool:
        return mark.exists()

    argv: Sequence[str] = (sys.executable, "-c", code.format(mark=str(mark)))
    spec = Spec(
        name="part",
        argv=argv,
        env={**os.environ, leftovers.MARK: str(tmp_path)},
        log=tmp_path / "part.log",
        ready=ready,
        start_timeout_s=20.0,
        grace_s=grace_s,
    )
    return ProcessUnit(spec, (said if said is not None else []).append)


@asynccontextmanager
async def running(part: ProcessUnit) -> AsyncIterator[None]:
    await part.start()
    try:
        yield
    finally:
        await part.stop()


async def until_restarted(tmp_path: Path, old: list[int]) -> list[int]:
    async with asyncio.timeout(20):
        while True:
            now = leftovers.find(tmp_path)
            if now and set(now).isdisjoint(old):
                return now
            await asyncio.sleep(0.02)


async def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    async with running(unit(tmp_path, SERVE, said=said)):
        first = leftovers.find(tmp_path)
        os.kill(first[0], signal.SIGKILL)
        await until_restarted(tmp_path, first)
    assert leftovers.find(tmp_path) == []
    assert "SIGKILL" in said[0]


async def test_a_process_that_ends_at_its_start_is_explained_by_its_last_line(
    tmp_path: Path,
) -> None:
    part = unit(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(StartError, match="the port is taken"):
        await part.start()
    assert leftovers.find(tmp_path) == []


async def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    async with running(unit(tmp_path, DEAF, grace_s=0.2)):
        assert len(leftovers.find(tmp_path)) == 1
    assert leftovers.find(tmp_path) == []


async def test_leftovers_of_a_killed_supervisor_are_found_and_ended(tmp_path: Path) -> None:
    part = unit(tmp_path, SERVE)
    await part.start()
    try:
        assert leftovers.end(tmp_path, grace_s=5.0) == 1
        assert leftovers.find(tmp_path / "another") == []
    finally:
        await part.stop()
