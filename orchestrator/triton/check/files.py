"""Names, versions, backends and the files that a model needs."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from orchestrator.triton.check.folder import Model
from orchestrator.triton.check.problem import Problem

# Backends of NVIDIA's builds, and the file each wants in a version folder.
KNOWN_BACKENDS = {
    "python": "model.py",
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "pytorch": "model.pt",
    "openvino": "model.xml",
    "vllm": "model.json",
    "tensorrtllm": "",
    "dali": "model.dali",
    "fil": "",
    "identity": "",
    "square": "",
    "repeat": "",
}
# Ours whose engine arguments are in the same file as those of NVIDIA's vLLM backend.
OUR_ENGINE_FILES = {"openvino_genai": "model.json", "vllm": "model.json"}
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"


def check_files(model: Model, backends: Path | None) -> Iterator[Problem]:
    if model.config.name and model.config.name != model.name:
        said = f"name is {model.config.name!r} and its folder is {model.name!r}: make them the same"
        yield model.problem(said, "name")
    yield from _check_backend(model, backends)
    yield from _check_versions(model)
    if not model.is_ensemble:
        for version in model.versions:
            yield from _check_version_files(model, version)
    yield from _check_environment(model)


def _check_backend(model: Model, backends: Path | None) -> Iterator[Problem]:
    config = model.config
    if config.HasField("ensemble_scheduling") and config.platform != "ensemble":
        yield model.problem(
            'has ensemble_scheduling, so it needs platform: "ensemble"', "ensemble_scheduling"
        )
    elif config.platform == "ensemble" and not config.HasField("ensemble_scheduling"):
        yield model.problem("is an ensemble without ensemble_scheduling", "platform")
    elif not model.is_ensemble and not config.backend and not config.platform:
        yield model.problem('names no backend: add one, such as backend: "python"')
    elif config.backend and not _backend_exists(config.backend, backends):
        yield model.problem(
            f"backend {config.backend!r} is none of Triton's and {backends or 'backends'} "
            f"has no {config.backend}/model.py",
            "backend",
        )


def _backend_exists(name: str, backends: Path | None) -> bool:
    ours = backends is not None and (backends / name / "model.py").is_file()
    return ours or name in KNOWN_BACKENDS


def _check_versions(model: Model) -> Iterator[Problem]:
    for entry in sorted(model.folder.iterdir()):
        if entry.is_dir() and entry.name.isdigit() and entry.name.startswith("0"):
            said = f"version folder {entry.name!r} is ignored by Triton: write it without the zero"
            yield model.problem(said)
    names = [int(v.name) for v in model.versions]
    if not names:
        yield model.problem(f"has no version: make the folder {model.folder / '1'}")
    for index, wanted in enumerate(model.config.version_policy.specific.versions):
        if wanted not in names:
            said = f"version_policy wants version {wanted}, and there is {names or 'none'}"
            yield model.problem(said, "version_policy", "specific", "versions", index)
    if model.is_ensemble:
        for version in model.versions:
            if not any(version.iterdir()):
                said = f"{version} is empty, and git keeps no empty folder: put a .gitkeep in it"
                yield model.problem(said, warning=True)


def _check_version_files(model: Model, version: Path) -> Iterator[Problem]:
    backend = model.config.backend
    wanted = model.config.default_model_filename or (
        OUR_ENGINE_FILES.get(backend) or KNOWN_BACKENDS.get(backend, "")
    )
    if not wanted:
        return
    file = version / wanted
    if not file.exists():
        yield model.problem(f"backend {backend!r} needs {file}, which does not exist", "backend")
    elif file.suffix == ".py":
        yield from _check_python(file)
    elif file.suffix == ".json":
        yield from _check_json(file)


def _check_python(file: Path) -> Iterator[Problem]:
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        yield Problem(file, error.lineno or 1, f"is not Python: {error.msg}")
        return
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if "TritonPythonModel" not in names | imported:
        yield Problem(file, 1, "has no class TritonPythonModel, which Triton looks for")


def _check_json(file: Path) -> Iterator[Problem]:
    try:
        arguments = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        yield Problem(file, error.lineno, f"is not JSON: {error.msg}")
        return
    if not isinstance(arguments, dict) or not isinstance(arguments.get("model"), str):
        yield Problem(file, 1, 'must be a JSON object of engine arguments with a "model"')


def _check_environment(model: Model) -> Iterator[Problem]:
    if "EXECUTION_ENV_PATH" not in model.config.parameters:
        return
    value = model.config.parameters["EXECUTION_ENV_PATH"].string_value
    path = Path(value.replace(MODEL_DIRECTORY, str(model.folder)))
    if not path.exists():
        keys = [key for key, _ in model.place.entries("parameters")]
        index = keys.index("EXECUTION_ENV_PATH") if "EXECUTION_ENV_PATH" in keys else 0
        said = f"EXECUTION_ENV_PATH is {value!r}, which does not exist"
        if path.parts[-2:-1] == ("engines",):
            said += f": make it with fleet engines install {path.name}"
        yield model.problem(said, "parameters", index)
