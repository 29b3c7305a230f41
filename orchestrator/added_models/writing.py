"""Writes a model's folder: `config.pbtxt`, `1/model.json`, the weights, tokenizer and template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.room import MIB, said
from orchestrator.added_models.source import Engine, Form, Say, Source

_FOLDERS = {Form.OPENVINO: "openvino", Form.HUGGING_FACE: "hugging_face"}
_TOLD_ABOVE = 256 * MIB


@dataclass(frozen=True, slots=True)
class Plan:
    engine: Engine
    context_tokens: int
    kv_cache_gib: int


def write_model(
    source: Source, staged: Path, final: Path, plan: Plan, *, more: Iterable[Path], say: Say
) -> Path:
    """Fills the folder `staged`, which will be `final`; returns where the model's own files are.

    `more` are files that were made for it and are moved.
    """
    version = staged / "1"
    weights = version / _FOLDERS[source.form]
    weights.mkdir(parents=True)
    for file in source.files():
        size = file.stat().st_size
        if size > _TOLD_ABOVE:
            say(f"copying {file.name}, {said(size)}")
        shutil.copyfile(file, weights / file.name)
    for file in more:
        shutil.move(file, weights / file.name)
    kind = "KIND_MODEL" if plan.engine is Engine.VLLM else "KIND_CPU"
    text = resources.files("orchestrator.added_models").joinpath("config.pbtxt").read_text("utf-8")
    (staged / "config.pbtxt").write_text(
        Template(text).substitute(backend=plan.engine.value, kind=kind), "utf-8"
    )
    served = final / weights.relative_to(staged)
    arguments = _arguments(plan, weights.name, served)
    (version / "model.json").write_text(json.dumps(arguments, indent=2) + "\n", "utf-8")
    return weights


def _arguments(plan: Plan, folder: str, served: Path) -> dict[str, Any]:
    if plan.engine is Engine.VLLM:
        # vLLM takes a relative path from where the server was started.
        return {"model": str(served), "max_model_len": plan.context_tokens}
    return {
        "model": folder,
        "device": "CPU",
        "max_model_len": plan.context_tokens,
        # Chat templates write the special tokens themselves.
        "add_special_tokens": False,
        "scheduler": {
            "cache_size": plan.kv_cache_gib,
            "max_num_batched_tokens": 2048,
            "max_num_seqs": 256,
            "dynamic_split_fuse": True,
            "enable_prefix_caching": True,
        },
        "coalescing": {"max_tokens": 32, "max_delay_ms": 20, "messages_per_s": 500},
        "limits": {"max_prompt_bytes": 1048576, "max_requests": 4096},
        "drain_timeout_s": 20,
        "engine_restarts": 3,
        "niceness": 5,
    }


def check_engine(source: Source, engine: Engine) -> None:
    """Raises ModelError: this engine can't read this form of a model, nor can it be converted."""
    if engine is Engine.VLLM and source.form is Form.OPENVINO:
        raise ModelError(
            f"{source.folder} is OpenVINO IR, which vllm can't read: give the Hugging Face folder "
            "(config.json and *.safetensors), or --engine openvino_genai"
        )
