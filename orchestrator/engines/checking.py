"""Whether an environment works: its versions, its imports and one generation."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engines import probe
from orchestrator.engines.errors import EngineError
from orchestrator.engines.flavour import Flavour, Recipe
from orchestrator.engines.pip import run

_VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
_DOING = {
    "numpy": "importing numpy",
    "torch": "importing PyTorch",
    "vllm": "importing vLLM",
    "generation": "a generation with the tiny model",
}

_CHECK = "the check"

Report = Mapping[str, Mapping[str, Any]]


def check_environment(python: Path, recipe: Recipe, model: Path | None) -> Report:
    """Returns what was found, by stage.

    Args:
        model: a Hugging Face folder to generate with; None leaves that out.

    Raises:
        EngineError: an import or the generation failed, or a package is not of the right build.
    """
    wanted = [stage for stage in probe.STAGES if stage != "generation" or model is not None]
    with tempfile.TemporaryDirectory(prefix="fleet-engine-") as folder:
        report = Path(folder) / "report"
        # Isolated: else the modules beside the probe would go before the environment's packages.
        command: list[str | Path] = [python, "-I", Path(probe.__file__), report]
        command += [model] if model else []
        failed = ""
        try:
            run(command, doing=_CHECK, variables={**_VARIABLES, "HOME": folder})
        except EngineError as error:
            failed = str(error).removeprefix(f"{_CHECK} failed: ")
        found = _read(report)
    missing = [stage for stage in wanted if stage not in found]
    if missing:
        raise EngineError(f"the packages are there, but {_DOING[missing[0]]} failed: {failed}")
    if failed:
        raise EngineError(f"{_CHECK} worked, and then the program failed: {failed}")
    check_builds(found, recipe)
    return found


def check_builds(found: Report, recipe: Recipe) -> None:
    """Raises EngineError: something else was installed than what runs together."""
    versions, flavour = recipe.versions(), recipe.flavour
    numpy, torch = found["numpy"]["version"], found["torch"]
    if int(numpy.split(".")[0]) >= 2:
        raise EngineError(
            f"numpy {numpy} was installed, and Triton's Python stub reads no tensor made by "
            f"numpy 2: it must be {versions['numpy']}"
        )
    if flavour is Flavour.CPU and torch["cuda"] is not None:
        raise EngineError(
            f"PyTorch {torch['version']} is a build for CUDA {torch['cuda']}, and vLLM for the "
            f"CPU needs {versions['torch']}: name PyTorch's index of CPU builds in "
            "PIP_EXTRA_INDEX_URL"
        )
    if flavour is Flavour.CUDA and torch["cuda"] is None:
        raise EngineError(
            f"PyTorch {torch['version']} is a build for the CPU, and --cuda needs "
            f"{versions['torch']} for CUDA: leave PyTorch's index of CPU builds out"
        )
    if flavour is Flavour.CUDA and not torch["devices"]:
        raise EngineError(
            f"PyTorch {torch['version']} sees no GPU: it is made for CUDA {torch['cuda']}, which "
            "needs a newer driver than this machine's (nvidia-smi shows what the driver can)"
        )


def _read(report: Path) -> dict[str, dict[str, Any]]:
    if not report.exists():
        return {}
    lines = map(json.loads, report.read_text("utf-8").splitlines())
    return {line.pop("stage"): line for line in lines}
