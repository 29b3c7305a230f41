"""A PostgreSQL of its own, on loopback, with the defaults of its release."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.redis_server import free_port
from scripts.benchmarks.outcome import CannotRun

_START_S = 30.0
_STOP_S = 10.0
_OTHER_USER = "nobody"  # PostgreSQL does not run as root


@dataclass(frozen=True, slots=True)
class Postgres:
    url: str
    pid: int


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """Raises CannotRun: there is none here, or it does not start."""
    binaries = _binaries()
    data, port = folder / "data", free_port()
    data.mkdir(parents=True)
    user = _user(folder, data)
    _run([str(binaries / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust"], user)
    process = await asyncio.create_subprocess_exec(
        str(binaries / "postgres"),
        *("-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        cwd=data,
    )
    try:
        await _answers(process, port)
        url = f"postgresql://bench@127.0.0.1:{port}/postgres"
        yield Postgres(url, process.pid)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _binaries() -> Path:
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotRun("there is no PostgreSQL here: install one (Debian: postgresql)")


def _user(folder: Path, data: Path) -> str | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_OTHER_USER)
    os.chown(data, entry.pw_uid, entry.pw_gid)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return _OTHER_USER


def _run(command: Sequence[str], user: str | None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, user=user, cwd=Path("/")
    )
    if done.returncode:
        raise CannotRun(f"{Path(command[0]).name} failed: {done.stderr.strip()[-200:]}")


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return
    except TimeoutError:
        pass
    raise CannotRun("PostgreSQL did not start")
