"""A Triton of its own with variants of one chat model: the same weights, other settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.triton import TritonConfig, TritonError, TritonServer
from scripts.benchmarks.benchmark import ROOT
from scripts.benchmarks.outcome import CannotRun


@asynccontextmanager
async def serving(
    model: str, variants: Mapping[str, Mapping[str, Any]], folder: Path
) -> AsyncIterator[TritonServer]:
    """`variants`: a model's name → what its model.json has besides that of `model`.

    Raises:
        CannotRun: it does not start.
    """
    source, repository = ROOT / "model_repository" / model, folder / "repository"
    settings = json.loads((source / "1" / "model.json").read_text(encoding="utf-8"))
    settings["model"] = str((source / "1" / settings["model"]).resolve())
    for name, more in variants.items():
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(source / "config.pbtxt", repository / name)
        made = json.dumps({**settings, **more})
        (repository / name / "1" / "model.json").write_text(made, encoding="utf-8")
    config = TritonConfig(
        repositories=(repository,),
        runtime_dir=folder / "runtime",
        backends_dir=ROOT / "backends",
        auto_complete=False,
    )
    try:
        async with TritonServer(config) as server:
            yield server
    except TritonError as error:
        raise CannotRun(f"Triton with {model}: {error}") from error


def scheduler_of(model: str) -> dict[str, Any]:
    path = ROOT / "model_repository" / model / "1" / "model.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["scheduler"]
    return found
