"""A peer's environment: made once, beside ours, from pinned requirements."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.benchmarks.benchmark import ROOT
from scripts.benchmarks.outcome import CannotRun
from scripts.benchmarks.progress import Progress

PEERS = ROOT / ".fleet" / "peers"
_REQUIREMENTS = Path(__file__).parent
_MADE = "made.txt"
_SAID_CHARS = 300


async def peer_python(name: str, progress: Progress) -> Path:
    """The interpreter of the peer's environment, which is made where it is not there yet.

    Raises:
        CannotRun: it can't be made here.
    """
    wanted = (_REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    folder = PEERS / name
    python, made = folder / "bin" / "python", folder / _MADE
    if made.exists() and made.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    await _step(f"an environment for {name}", progress, sys.executable, "-m", "venv", str(folder))
    requirements = str(_REQUIREMENTS / f"{name}.txt")
    await _step(
        f"installing {' '.join(wanted.split())}",
        progress,
        *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("-r", requirements),
    )
    made.write_text(wanted, encoding="utf-8")
    return python


async def _step(what: str, progress: Progress, *command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    ended = asyncio.create_task(process.communicate())
    while not ended.done():
        progress.say(what)
        await asyncio.wait({ended}, timeout=1)
    _, said = ended.result()
    if process.returncode:
        last = " ".join(said.decode("utf-8", "replace").split())[-_SAID_CHARS:]
        raise CannotRun(f"{what} failed: {last}")
