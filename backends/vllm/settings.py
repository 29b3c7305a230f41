"""A `vllm` model's files: `1/model.json`, and where they are needed `1/multi_lora.json` and
`1/serving.json`.

`model.json` holds vLLM's engine arguments and nothing else, so that the folder loads in NVIDIA's
container too; what this backend alone knows stands in `serving.json`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.llm_serving.errors import SettingsError
from backends.llm_serving.serving import Serving
from backends.llm_serving.settings import read_settings

FOLDERS = ("model", "tokenizer")
"""Engine arguments that may name a folder of the version folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmServing(Serving):
    add_special_tokens: bool = True
    """Whether the tokenizer adds its own to a prompt, such as the one that begins every text."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the engine's process, such as {"VLLM_CPU_KVCACHE_SPACE": "2"}."""


@dataclass(frozen=True, slots=True)
class VllmModel:
    engine_args: Mapping[str, Any]
    loras: Mapping[str, str]
    """Path by name; empty without `enable_lora`."""
    serving: VllmServing


def load_model(version_folder: Path) -> VllmModel:
    """Raises SettingsError."""
    path = version_folder / "model.json"
    arguments = read_object(path, "it holds vLLM's engine arguments")
    if not isinstance(arguments.get("model"), str):
        raise SettingsError(f"{path}: 'model' must be a folder or a name for vLLM to load")
    for name in FOLDERS:
        if isinstance(arguments.get(name), str):
            arguments[name] = _resolve(version_folder, arguments[name])
    serving_path = version_folder / "serving.json"
    serving = read_settings(VllmServing, serving_path) if serving_path.exists() else VllmServing()
    for name, value in serving.environment.items():
        if not isinstance(value, str):
            raise SettingsError(f"{serving_path}: 'environment': '{name}' must be a string")
    loras = _loras(version_folder) if _enabled(arguments.get("enable_lora")) else {}
    return VllmModel(arguments, loras, serving)


def engine_environment(model: VllmModel) -> dict[str, str]:
    """A model in a folder needs no hub; nothing is told to anybody; eager compiles nothing.

    (The first request with log probabilities would wait for a compiler otherwise.)
    """
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if Path(model.engine_args["model"]).is_dir():
        variables["HF_HUB_OFFLINE"] = "1"
    if _enabled(model.engine_args.get("enforce_eager")):
        variables["TORCH_COMPILE_DISABLE"] = "1"
    if model.engine_args.get("distributed_executor_backend") == "uni":
        # Else its CPU build starts a worker process all the same, which spins while it is idle.
        variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        # Computed in the core, which takes one thread unless told otherwise; one core is left to
        # those that hand requests in and answers out.
        variables["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) - 1))
    return {**variables, **model.serving.environment}


def read_object(path: Path, purpose: str) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; {purpose}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must be a JSON object, not {json.dumps(given)[:80]}")
    return given


def _loras(version_folder: Path) -> dict[str, str]:
    path = version_folder / "multi_lora.json"
    loras = read_object(path, "with enable_lora it names the adapters' folders")
    for name, folder in loras.items():
        if not isinstance(folder, str) or not folder:
            raise SettingsError(f"{path}: '{name}' must be a folder or a name for vLLM to load")
    return {name: _resolve(version_folder, folder) for name, folder in loras.items()}


def _resolve(version_folder: Path, name: str) -> str:
    inside = version_folder / name
    return str(inside) if inside.is_dir() else name


def _enabled(value: object) -> bool:
    return str(value).lower() == "true"
