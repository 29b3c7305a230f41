"""Runs a script in a peer's environment and reads the JSON object that it ends with."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.benchmarks.outcome import CannotRun

_LIMIT_S = 300.0
_SAID_CHARS = 400


async def run_script(python: Path, script: Path, *arguments: str) -> dict[str, Any]:
    """
    Raises:
        CannotRun: it failed, or did not end in time.
    """
    command: Sequence[str] = (str(python), str(script), *arguments)
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=alone
    )
    try:
        said, wrong = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    except TimeoutError:
        raise CannotRun(f"{script.name} did not end within {_LIMIT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if process.returncode or not lines:
        last = " ".join(wrong.decode("utf-8", "replace").split())[-_SAID_CHARS:]
        raise CannotRun(f"{script.name} failed: {last}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
