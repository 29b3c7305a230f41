"""Gives a model of the repository another engine, in place, and takes that back.

The weights of both engines lie in the version folder, and what a person wrote for the engine
that goes is kept for its return, in `1/engines/ENGINE/`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.added_models.engine_files import (
    ARGUMENTS,
    SERVING,
    VllmHost,
    engine_files,
    engine_of,
    with_engine,
)
from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.facts import read_facts
from orchestrator.added_models.room import kv_cache_gib
from orchestrator.added_models.source import Engine, Form
from orchestrator.added_models.writing import written
from orchestrator.triton.check import check_repositories

_CONFIG = "config.pbtxt"
_VERSION = Path("1")
_KEPT = _VERSION / "engines"
_FORMS = {Engine.OPENVINO_GENAI: Form.OPENVINO, Engine.VLLM: Form.HUGGING_FACE}
_SIGNS = {Form.OPENVINO: "openvino_model.xml", Form.HUGGING_FACE: "*.safetensors"}

Texts = Mapping[Path, str | None]
"""The files of a model's folder by their path in it; None: there is to be none."""


def find_folder(name: str, repositories: tuple[Path, ...]) -> Path:
    """Raises ModelError: no repository has the model, or it is none of an engine's."""
    folder = next((each / name for each in repositories if (each / name / _CONFIG).is_file()), None)
    if folder is None:
        places = ", ".join(map(str, repositories))
        raise ModelError(f"there is no model {name!r} in {places}")
    engine = current_engine(folder)
    if engine is None:
        found = engine_of((folder / _CONFIG).read_text("utf-8"))
        raise ModelError(
            f"{name} runs on the backend {found!r}; only models of {', '.join(Engine)} can be "
            "given another engine"
        )
    return folder.absolute()


def current_engine(folder: Path) -> Engine | None:
    found = engine_of((folder / _CONFIG).read_text("utf-8"))
    return Engine(found) if found in set(Engine) else None


def plan_switch(folder: Path, engine: Engine, host: VllmHost, context_tokens: int) -> Texts:
    """What is to be written, so that `engine` runs the model.

    Raises:
        ModelError: the folder has no weights for it.
    """
    before = current_engine(folder)
    if before is None or before is engine:
        return {}
    config = (folder / _CONFIG).read_text("utf-8")
    plan: dict[Path, str | None] = {
        Path(_CONFIG): with_engine(config, engine, host, folder),
    }
    fresh = _fresh(folder, engine, host, context_tokens)
    if fresh is None:
        raise ModelError(_no_weights(folder, engine))
    kept, aside = _KEPT / engine, _KEPT / before
    had = {name: _read(folder / _VERSION / name) for name in (ARGUMENTS, SERVING)}
    comes_back = (folder / kept / ARGUMENTS).is_file()
    usual = _fresh(folder, before, host, context_tokens)
    for name in (ARGUMENTS, SERVING):
        plan[_VERSION / name] = _read(folder / kept / name) if comes_back else fresh.get(name)
        plan[kept / name] = None
        plan[aside / name] = None if usual is not None and _same(had, usual) else had[name]
    return {path: text for path, text in plan.items() if text != _read(folder / path)}


def _fresh(
    folder: Path, engine: Engine, host: VllmHost, context_tokens: int
) -> Mapping[str, str] | None:
    """The files of an engine that nobody has touched; None where it has no weights."""
    signs = sorted((folder / _VERSION).glob(f"*/{_SIGNS[_FORMS[engine]]}"))
    if not signs:
        return None
    weights = signs[0].parent
    cache_gib = kv_cache_gib(context_tokens, read_facts(weights).kv_bytes_per_token)
    files = engine_files(
        engine, host, weights=weights, context_tokens=context_tokens, kv_cache_gib=cache_gib
    )
    return {name: written(contents) for name, contents in files.items()}


def _same(had: Mapping[str, str | None], usual: Mapping[str, str]) -> bool:
    return all(text == usual.get(name) for name, text in had.items())


def _no_weights(folder: Path, engine: Engine) -> str:
    form = _FORMS[engine]
    hint = {
        Form.OPENVINO: "convert it: fleet models add NAME --from FOLDER --engine openvino_genai, "
        "with its Hugging Face folder",
        Form.HUGGING_FACE: f"copy its Hugging Face folder to {folder / _VERSION / 'hugging_face'}",
    }[form]
    return (
        f"{folder / _VERSION} has no weights that {engine} can read ({form}, a folder with "
        f"{_SIGNS[form]}): {hint}"
    )


@dataclass(frozen=True, slots=True)
class Switch:
    """A change that is written down before it begins, so that it can be taken back later on."""

    journal: Path
    folder: Path
    before: Texts

    def undo(self) -> None:
        _write_all(self.folder, self.before)
        self.finish()

    def finish(self) -> None:
        """From now on it stays."""
        self.journal.unlink(missing_ok=True)


def begin(journals: Path, folder: Path, plan: Texts, backends: Path | None) -> Switch:
    """Writes the plan.

    Raises:
        ModelError: Triton would not load what was written; the old files are back then.
    """
    before = {path: _read(folder / path) for path in plan}
    journals.mkdir(parents=True, exist_ok=True)
    switch = Switch(journals / f"{folder.name}.json", folder, before)
    files = {str(path): text for path, text in before.items()}
    _replace(switch.journal, json.dumps({"folder": str(folder), "files": files}))
    try:
        _write_all(folder, plan)
        _check(folder, backends)
    except BaseException:
        switch.undo()
        raise
    return switch


def _check(folder: Path, backends: Path | None) -> None:
    for fault in check_repositories([folder.parent], backends):
        if fault.path.is_relative_to(folder) and not fault.warning:
            raise ModelError(f"what was written is not valid: {fault}")


def left_behind(journals: Path) -> list[Switch]:
    """The changes that a killed command neither finished nor took back."""
    found = []
    for journal in sorted(journals.glob("*.json")):
        try:
            noted = json.loads(journal.read_text("utf-8"))
            before = {Path(path): text for path, text in noted["files"].items()}
            found.append(Switch(journal, Path(noted["folder"]), before))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{journal} can't be read: {error}; remove it") from None
    return found


def _write_all(folder: Path, texts: Texts) -> None:
    for path, text in texts.items():
        file = folder / path
        if text is None:
            file.unlink(missing_ok=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, text)
    for kept in (*(folder / _KEPT).glob("*"), folder / _KEPT):
        if kept.is_dir() and not any(kept.iterdir()):
            kept.rmdir()


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f"{file.name}.new")
    with fresh.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
