"""Makes an engine's environment: everything or nothing."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines.checking import check_environment
from orchestrator.engines.errors import EngineError
from orchestrator.engines.flavour import Flavour, Recipe, check_machine
from orchestrator.engines.pip import install_lock, run
from orchestrator.engines.store import EngineStore, Facts

_BEGUN = re.compile(
    r"(?:Collecting|Requirement already satisfied:) (\S+?)==|Processing \S*/([^/\s]+)"
)
_DOWNLOAD = re.compile(r"\s*Downloading (\S+?)-\S+ \((\d+)(?:\.\d+)? MB\)")
_SAID_ABOVE_MB = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` begins something, `detail` says how far it is."""

    step: Callable[[str], None]
    detail: Callable[[str], None]


def is_current(facts: Facts, recipe: Recipe) -> bool:
    return (facts.flavour, facts.lock) == (recipe.flavour, recipe.digest())


def install(store: EngineStore, recipe: Recipe, model: Path | None, progress: Progress) -> Facts:
    """Makes, fills and checks an environment, and lets it count; who calls has the lock.

    Args:
        model: a Hugging Face folder for the check.

    Raises:
        EngineError: nothing of it is there then, and one that was there still counts.
    """
    check_machine(recipe.flavour)
    with store.new_folder() as folder:
        _check_room(folder, recipe.flavour)
        python = folder / "bin" / "python"
        progress.step("a virtual environment")
        run([sys.executable, "-m", "venv", "--without-pip", folder], doing="making it")
        lock = folder / "requirements.lock"
        lock.write_text(recipe.lock, "utf-8")
        packages = recipe.versions()
        progress.step(f"{len(packages)} packages")
        install_lock(python, lock, hear=_Counter(len(packages), progress.detail))
        using = f"one generation with {model.parents[1].name}" if model else "no generation"
        progress.step(f"checking: versions, imports, {using}")
        found = check_environment(python, recipe, model)
        facts = Facts(
            flavour=recipe.flavour,
            python=".".join(map(str, sys.version_info[:3])),
            version=packages[recipe.flavour.package],
            torch=found["torch"]["version"],
            numpy=found["numpy"]["version"],
            lock=recipe.digest(),
            generated=model.parents[1].name if model else "",
        )
        store.publish(folder, facts)
    return facts


def tiny_model(repositories: tuple[Path, ...]) -> Path | None:
    """The smallest Hugging Face folder in the repositories, for the check."""
    weights = [
        file
        for repository in repositories
        for file in repository.glob("*/*/*/model.safetensors")
        if (file.parent / "config.json").is_file()
    ]
    smallest = min(weights, key=lambda file: file.stat().st_size, default=None)
    return smallest.parent.resolve() if smallest else None


def _check_room(folder: Path, flavour: Flavour) -> None:
    free = shutil.disk_usage(folder).free
    if free < flavour.needed_bytes:
        raise EngineError(
            f"{folder.parent} has {free / 1e9:.1f} GB free, and vLLM for {flavour} needs "
            f"{flavour.needed_bytes / 1e9:.0f} GB"
        )


@dataclass(slots=True)
class _Counter:
    """Counts the packages in pip's lines."""

    total: int
    detail: Callable[[str], None]
    seen: int = 0

    def __call__(self, line: str) -> None:
        if found := _BEGUN.match(line):
            self.seen += 1
            name = found[1] or found[2].split("-")[0]
            self.detail(f"{self.seen} of {self.total}, {name}")
        elif (found := _DOWNLOAD.match(line)) and int(found[2]) >= _SAID_ABOVE_MB:
            self.detail(f"{self.seen} of {self.total}, {found[1]}, {found[2]} MB")
        elif line.startswith("Installing collected"):
            self.detail("writing them")
