"""A Triton of its own for the measurement: the model as it is served, and one token a message."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.triton import TritonConfig, TritonServer
from scripts.llm_bench.vllm_model import write_vllm_model

PER_TOKEN = "llm_per_token"  # noqa: S105
TRACED = "llm_traced"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Served:
    grpc_url: str
    metrics_url: str
    shm_prefix: str
    repository: Path
    trace: Path
    """What TRACED writes."""


@asynccontextmanager
async def serve(
    model: str, folder: Path, *, vllm: Path | None = None, traced: bool = True
) -> AsyncIterator[Served]:
    """`folder` is the caller's to remove; `vllm` is an environment that has it."""
    repository = folder / "repository"
    if vllm is None:
        make_repository(model, repository, folder / "trace")
    else:
        make_vllm_repository(model, repository, vllm, folder / "trace" if traced else None)
    config = TritonConfig(
        repositories=(repository,),
        runtime_dir=folder / "runtime",
        backends_dir=ROOT / "backends",
        auto_complete=False,
    )
    async with TritonServer(config) as server:
        yield Served(
            server.grpc_url, server.metrics_url, server.shm_prefix, repository, folder / "trace"
        )


def make_vllm_repository(
    model: str, repository: Path, environment: Path, trace: Path | None
) -> None:
    """An engine takes gigabytes and half a minute: there is no second one but for cancels."""
    source = ROOT / "model_repository" / model
    write_vllm_model(source, repository / model, environment)
    if trace is not None:
        trace.touch()
        write_vllm_model(source, repository / TRACED, environment, trace=str(trace))


def make_repository(model: str, repository: Path, trace: Path) -> None:
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
