"""Writes a model's folder: `config.pbtxt`, `1/model.json`, the weights, tokenizer and template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from orchestrator.added_models.engine_files import VllmHost, engine_files, with_engine
from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.room import MIB, said
from orchestrator.added_models.source import Engine, Form, Say, Source

FOLDERS = {Form.OPENVINO: "openvino", Form.HUGGING_FACE: "hugging_face"}
_TOLD_ABOVE = 256 * MIB


@dataclass(frozen=True, slots=True)
class Plan:
    engine: Engine
    context_tokens: int
    kv_cache_gib: int
    host: VllmHost = VllmHost()


def write_model(
    source: Source, staged: Path, final: Path, plan: Plan, *, more: Iterable[Path], say: Say
) -> Path:
    """Fills the folder `staged`, which will be `final`; returns where the model's own files are.

    `more` are files that were made for it and are moved.
    """
    version = staged / "1"
    weights = version / FOLDERS[source.form]
    weights.mkdir(parents=True)
    for file in source.files():
        size = file.stat().st_size
        if size > _TOLD_ABOVE:
            say(f"copying {file.name}, {said(size)}")
        shutil.copyfile(file, weights / file.name)
    for file in more:
        shutil.move(file, weights / file.name)
    text = resources.files("orchestrator.added_models").joinpath("config.pbtxt").read_text("utf-8")
    config = with_engine(text, plan.engine, plan.host, final)
    (staged / "config.pbtxt").write_text(config, "utf-8")
    files = engine_files(
        plan.engine,
        plan.host,
        weights=final / weights.relative_to(staged),
        context_tokens=plan.context_tokens,
        kv_cache_gib=plan.kv_cache_gib,
    )
    for name, contents in files.items():
        (version / name).write_text(written(contents), "utf-8")
    return weights


def written(contents: Mapping[str, Any]) -> str:
    return json.dumps(contents, indent=2) + "\n"


def check_engine(source: Source, engine: Engine) -> None:
    """Raises ModelError: this engine can't read this form of a model, nor can it be converted."""
    if engine is Engine.VLLM and source.form is Form.OPENVINO:
        raise ModelError(
            f"{source.folder} is OpenVINO IR, which vllm can't read: give the Hugging Face folder "
            "(config.json and *.safetensors), or --engine openvino_genai"
        )
