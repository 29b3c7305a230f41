"""The short form of the chaos program holds, and one that is broken on purpose does not."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
QUICK_LIMIT_S = 480


@dataclass(frozen=True)
class Ended:
    code: int | None
    said: str
    found: dict[str, Any]

    @property
    def problems(self) -> str:
        return "\n".join(sentence for t in self.found["trials"] for sentence in t["problems"])


async def chaos(folder: Path, *arguments: str) -> Ended:
    file = folder / "found.json"
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "chaos"),
        "--json",
        str(file),
        *arguments,
        env=dict(os.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return Ended(process.returncode, said.decode(), json.loads(file.read_text("utf-8")))


@pytest.mark.timeout(QUICK_LIMIT_S + 20)
@pytest.mark.usefixtures("redis_server")
async def test_every_invariant_holds_in_the_short_form(tmp_path: Path) -> None:
    async with asyncio.timeout(QUICK_LIMIT_S):
        ended = await chaos(tmp_path, "--quick")
    assert ended.code == 0, ended.said
    assert "every invariant holds" in ended.said.splitlines()[-1]
    assert all(trial["times"] > 0 and trial["runs"] > 0 for trial in ended.found["trials"])


@pytest.mark.parametrize(
    ("breakage", "trial", "found"),
    [
        ("fence", "pause", "committed by a process that had been stopped past its lease"),
        ("acknowledge", "kill", "nothing acknowledged is lost"),
        ("effect", "kill", "took effect 2 times"),
        ("key", "kill", "one effect a key"),
        ("event", "watchers", "watcher of run_"),
        ("leftover", "kill", "nothing left over"),
    ],
)
@pytest.mark.usefixtures("redis_server")
async def test_what_is_broken_on_purpose_is_found(
    tmp_path: Path, breakage: str, trial: str, found: str
) -> None:
    ended = await chaos(tmp_path, "--quick", "--seed", "1", "--only", trial, "--break", breakage)
    assert ended.code == 1, ended.said
    assert found in ended.problems
    assert ended.said.splitlines()[-1].startswith(f"BROKEN: {trial}")
