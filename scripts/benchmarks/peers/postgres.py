"""A PostgreSQL of its own, on loopback, with the defaults of its release."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.redis_server import free_port
from scripts.benchmarks.outcome import CannotRun
from scripts.benchmarks.peers.process import running

_START_S = 30.0
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
    command = (str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(data))
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    async with running(*command, "-h", "127.0.0.1", user=user, cwd=data, **silent) as process:
        await _answers(process, port)
        yield Postgres(f"postgresql://bench@127.0.0.1:{port}/postgres", process.pid)


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
    deadline = time.monotonic() + _START_S
    while process.returncode is None and time.monotonic() < deadline:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise CannotRun("PostgreSQL did not start")
