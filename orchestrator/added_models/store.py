"""The folder of added models, which Triton and every process of the service see.

    ROOT/repository/NAME/   a model of Triton's; `catalogue.json` in it is its catalogue entry
    ROOT/staging/           what is being made
    ROOT/unloaded.json      the names that stay unloaded when Triton starts

A model is there when its entry is: the entry comes last and goes first, each in one rename. What
a killed command leaves behind has none, is not loaded, and gives way to the next of its name.
"""

from __future__ import annotations

import fcntl
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from orchestrator.added_models.errors import ModelError
from orchestrator.domain.catalogue import ModelEntry

log = logging.getLogger(__name__)

ENTRY = "catalogue.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

Stamp = tuple[str, int, int]
"""A file, its modification time and its inode."""


class ModelStore:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.repository = self.root / "repository"
        self._staging = self.root / "staging"
        self._unloaded = self.root / "unloaded.json"

    def prepare(self) -> None:
        """Makes the repository, which Triton must find when it starts."""
        self.repository.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One change at a time, whoever makes it.

        Raises:
            ModelError: somebody else changes the models now.
        """
        self.prepare()
        with (self.root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ModelError(
                    f"another command changes the models in {self.root}: wait for its end"
                ) from None
            yield

    def stamps(self) -> tuple[Stamp, ...]:
        """What tells one state of the folder from another, for little."""
        found = []
        for file in (*sorted(self.repository.glob(f"*/{ENTRY}")), self._unloaded):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            found.append((str(file), status.st_mtime_ns, status.st_ino))
        return tuple(found)

    def names(self) -> list[str]:
        return sorted(file.parent.name for file in self.repository.glob(f"*/{ENTRY}"))

    def entry(self, name: str) -> ModelEntry:
        """
        Raises:
            ModelError: there is no such model, or its entry can't be read.
        """
        file = self.folder(name) / ENTRY
        try:
            return ModelEntry(**{**json.loads(file.read_text("utf-8")), "name": name})
        except FileNotFoundError:
            raise ModelError(f"there is no added model {name!r}: {self._said()}") from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelError(f"{file}: {where}: {first['msg']}") from None
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{file} can't be read: {error}") from None

    def folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ModelError(
                f"{name!r} can't be a model's name: up to 63 letters, digits, '.', '_' and '-', "
                "the first a letter or a digit"
            )
        return self.repository / name

    def held_back(self) -> frozenset[str]:
        """What Triton is not to load by itself: unloaded by somebody, or never finished."""
        there = {path.name for path in self.repository.glob("*") if path.is_dir()}
        return self.unloaded() | (there - set(self.names()))

    def unloaded(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._unloaded.read_text("utf-8")))
        except FileNotFoundError:
            return frozenset()
        except (ValueError, TypeError) as error:  # Triton and all others start nevertheless
            log.warning("%s is not a JSON list of names: %s", self._unloaded, error)
            return frozenset()

    def remember(self, name: str, *, unloaded: bool) -> None:
        """Whether the model is to stay unloaded when Triton starts."""
        names = self.unloaded() - {name} | ({name} if unloaded else set())
        _write(self._unloaded, json.dumps(sorted(names)))

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        """An empty folder NAME on the repository's file system, gone at the end unless placed."""
        self._staging.mkdir(parents=True, exist_ok=True)
        for left in self._staging.iterdir():  # by a command that was killed: we have the lock
            shutil.rmtree(left, ignore_errors=True)
        parent = Path(tempfile.mkdtemp(dir=self._staging))
        folder = parent / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(parent, ignore_errors=True)

    def place(self, staged: Path) -> Path:
        """Moves a finished folder into the repository; Triton does not load it by itself yet."""
        target = self.folder(staged.name)
        if (target / ENTRY).exists():
            raise ModelError(f"there is a model {staged.name!r} already")
        self._drop(target)
        return staged.rename(target)

    def publish(self, entry: ModelEntry) -> None:
        """From now on the model is in the catalogue."""
        fields = entry.model_dump(mode="json", exclude={"name"})
        _write(self.folder(entry.name) / ENTRY, json.dumps(fields, indent=2, sort_keys=True) + "\n")

    def withdraw(self, name: str) -> None:
        """From now on it is not; its folder is still there."""
        (self.folder(name) / ENTRY).unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        self.withdraw(name)
        self._drop(self.folder(name))
        if name in self.unloaded():
            self.remember(name, unloaded=False)

    def _drop(self, folder: Path) -> None:
        if folder.is_dir():
            self._staging.mkdir(parents=True, exist_ok=True)
            gone = Path(tempfile.mkdtemp(dir=self._staging))
            folder.rename(gone / folder.name)
            shutil.rmtree(gone)

    def _said(self) -> str:
        return f"there are {', '.join(self.names()) or 'none'}"


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
