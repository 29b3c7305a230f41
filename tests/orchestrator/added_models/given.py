"""A store, a maker and sources to add from."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.added_models.conversion import Converter
from orchestrator.added_models.making import Maker
from orchestrator.added_models.store import ModelStore
from orchestrator.domain.catalogue import ModelEntry

ROOT = Path(__file__).parents[3]
TINY_QWEN2 = Path(__file__).parent / "tiny_qwen2"


def copy_of_qwen2(folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    shutil.copytree(TINY_QWEN2, folder)
    for name in without:
        (folder / name).unlink()
    return folder


def hugging_face(folder: Path) -> Path:
    """The folder before its conversion; nothing here reads its weights."""
    names = [path.name for path in TINY_QWEN2.glob("openvino_*")]
    copy_of_qwen2(folder, without=tuple(names))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def change_json(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class Making:
    """A maker over a folder of its own; `said` is what it told the person."""

    def __init__(self, root: Path) -> None:
        self.said: list[str] = []
        self.home = root / "home"
        self.store = ModelStore(root / "models")
        converter = Converter(self.home, self.said.append)
        self.maker = Maker(self.store, converter, ROOT / "backends", self.said.append)

    def left(self) -> list[str]:
        """Everything that is in the store's folders."""
        found = [*self.store.repository.glob("*"), *(self.store.root / "staging").glob("*")]
        return [path.name for path in found]


def entry(name: str, **fields: Any) -> ModelEntry:
    return ModelEntry(name=name, **fields)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        await asyncio.sleep(0.01)
