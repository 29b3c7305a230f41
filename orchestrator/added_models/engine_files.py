"""What of a model's folder says which engine runs it: a few words of `config.pbtxt`, and
`1/model.json` and `1/serving.json`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.source import Engine

ARGUMENTS, SERVING = "model.json", "serving.json"
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"

_BACKEND = re.compile(r'^(backend:\s*)"([^"]*)"', re.MULTILINE)
_KIND = re.compile(r"^(instance_group\b[^#]*?\bkind:\s*)KIND_[A-Z]+", re.MULTILINE)
_HINTS = re.compile(
    r'^(parameters\s*\{\s*key:\s*"cancel_hints"\s*value:\s*\{\s*string_value:\s*)"[^"]*"',
    re.MULTILINE,
)
_ENVIRONMENT = re.compile(
    r'\n*(^#[^\n]*fleet engines[^\n]*\n)?^parameters\s*\{\s*key:\s*"EXECUTION_ENV_PATH"\s*value:'
    r'\s*\{\s*string_value:\s*"[^"]*"\s*\}\s*\}[ \t]*(?=\n)',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class VllmHost:
    """The Triton that runs vLLM.

    `environment` has vLLM's packages, for this project's backend; None is a Triton that has
    NVIDIA's backend with its own. `on_cpu` is what the packages are built for.
    """

    environment: Path | None = None
    on_cpu: bool = False


def engine_of(config: str) -> str:
    found = _BACKEND.search(config)
    return found[2] if found else ""


def with_engine(config: str, engine: Engine, host: VllmHost, folder: Path) -> str:
    """The text of `config.pbtxt` in `folder`, changed for the engine; the rest stays as it is.

    Raises:
        ModelError: it is written in a way that this does not know.
    """
    if len(_BACKEND.findall(config)) != 1 or len(_KIND.findall(config)) != 1:
        raise ModelError(
            f"{folder / 'config.pbtxt'} can't be changed: it needs one line that begins with "
            'backend: "NAME", and one instance_group with a kind'
        )
    kind = "KIND_MODEL" if engine is Engine.VLLM else "KIND_CPU"
    changed = _BACKEND.sub(rf'\1"{engine}"', config)
    changed = _KIND.sub(rf"\1{kind}", changed)
    ours = engine is not Engine.VLLM or host.environment is not None
    # NVIDIA's backend would refuse a hint: who names another backend there gets none.
    changed = _HINTS.sub(rf'\1"{engine if ours else Engine.OPENVINO_GENAI}"', changed)
    changed = _ENVIRONMENT.sub("", changed)
    if engine is Engine.VLLM and host.environment is not None:
        value = environment_value(host.environment, folder)
        changed = (
            f"{changed.rstrip()}\n\n# vLLM's packages, from `fleet engines install vllm`.\n"
            f'parameters {{ key: "EXECUTION_ENV_PATH" value: {{ string_value: "{value}" }} }}\n'
        )
    return changed


def environment_value(environment: Path, folder: Path) -> str:
    """The path as Triton takes it: through the model's folder for a repository of the project
    that holds the environment, so that a checkout may be moved.
    """
    environment, folder = environment.absolute(), folder.absolute()
    project = folder.parent.parent
    if project == Path("/") or not environment.is_relative_to(project):
        return str(environment)
    return f"{MODEL_DIRECTORY}/{os.path.relpath(environment, folder)}"


def engine_files(
    engine: Engine, host: VllmHost, *, weights: Path, context_tokens: int, kv_cache_gib: int
) -> Mapping[str, dict[str, Any]]:
    """By file name, the contents of the files in the version folder.

    Args:
        weights: where the model's own files are, within the version folder.
    """
    if engine is Engine.VLLM:
        return _vllm(host, weights, context_tokens, kv_cache_gib)
    arguments = {
        "model": weights.name,
        "device": "CPU",
        "max_model_len": context_tokens,
        # Chat templates write the special tokens themselves.
        "add_special_tokens": False,
        "scheduler": {
            "cache_size": kv_cache_gib,
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
    return {ARGUMENTS: arguments}


def _vllm(
    host: VllmHost, weights: Path, context_tokens: int, kv_cache_gib: int
) -> dict[str, dict[str, Any]]:
    if host.environment is None:
        # vLLM takes a relative path from where the server was started.
        return {ARGUMENTS: {"model": str(weights), "max_model_len": context_tokens}}
    arguments = {
        "model": weights.name,
        "max_model_len": context_tokens,
        # Free white space and properties let a weak model go on to its last token.
        "structured_outputs_config": {
            "backend": "guidance",
            "disable_any_whitespace": True,
            "disable_additional_properties": True,
        },
    }
    serving: dict[str, Any] = {
        "coalescing": {"max_tokens": 32, "max_delay_ms": 20, "messages_per_s": 500},
        "drain_timeout_s": 20,
        # Chat templates write the special tokens themselves.
        "add_special_tokens": False,
    }
    if host.on_cpu:
        arguments["enforce_eager"] = True  # a compilation takes minutes and gains little
        arguments["distributed_executor_backend"] = "uni"  # one process less, which would spin
        serving["niceness"] = 5
        serving["environment"] = {"VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib)}
    else:
        # Of each GPU, so that two models fit on one.
        arguments["gpu_memory_utilization"] = 0.4
    return {ARGUMENTS: arguments, SERVING: serving}
