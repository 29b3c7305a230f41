"""A Triton of its own for the measurement: the model as it is served, and one token a message."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.triton import TritonConfig, TritonServer

PER_TOKEN = "llm_per_token"  # noqa: S105
TRACED = "llm_traced"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Served:
    grpc_url: str
    trace: Path
    """What TRACED writes."""


@asynccontextmanager
async def serve(model: str, folder: Path) -> AsyncIterator[Served]:
    """`folder` is the caller's to remove."""
    repository = make_repository(model, folder / "repository", folder / "trace")
    config = TritonConfig(
        repositories=(repository,),
        runtime_dir=folder / "runtime",
        backends_dir=ROOT / "backends",
        auto_complete=False,
    )
    async with TritonServer(config) as server:
        yield Served(server.grpc_url, folder / "trace")


def make_repository(model: str, repository: Path, trace: Path) -> Path:
    source = ROOT / "model_repository" / model
    settings = json.loads((source / "1" / "model.json").read_text())
    settings["model"] = str((source / "1" / settings["model"]).resolve())
    one_each = {**settings, "coalescing": {"max_tokens": 1}}
    trace.touch()
    traced = {**settings, "trace": str(trace)}
    for name, made in ((model, settings), (PER_TOKEN, one_each), (TRACED, traced)):
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(source / "config.pbtxt", repository / name)
        (repository / name / "1" / "model.json").write_text(json.dumps(made))
    return repository
