"""Where the environments of engines lie.

    ROOT/vllm           a link to the environment that counts
    ROOT/vllm.XXXXXXXX  an environment, or what a killed installation left of one
    ROOT/lock

An environment's files hold its absolute path, so it is made where it stays. What is renamed into
place is the link: an environment counts from then on, complete and checked.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.engines.errors import EngineError
from orchestrator.engines.flavour import ENGINE, Flavour

FOLDER = "engines"
_FACTS = "fleet-engine.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was installed, and what was seen when it was checked."""

    flavour: Flavour
    python: str
    version: str
    torch: str
    numpy: str
    lock: str  # SHA-256
    generated: str = ""  # by which model; empty: no model was there
    path: str = ""


class EngineStore:
    def __init__(self, home: Path) -> None:
        self.root = home.absolute() / FOLDER
        self.link = self.root / ENGINE

    @property
    def python(self) -> Path:
        return self.link / "bin" / "python"

    def facts(self) -> Facts | None:
        """Of the installed environment; None without one that could run."""
        folder = self.folder()
        if folder is None:
            return None
        try:
            given = json.loads((folder / _FACTS).read_text("utf-8"))
            facts = Facts(**{**given, "flavour": Flavour(given["flavour"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        # Moved with its project, or copied: its scripts and packages name the old place.
        stays = facts.path == str(folder) and os.access(self.python, os.X_OK)
        return facts if stays else None

    def folder(self) -> Path | None:
        """The environment that the link names, complete or not."""
        return self.link.resolve() if self.link.is_dir() else None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One change at a time.

        Raises:
            EngineError: somebody else changes the engines now.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"{self.root} can't be made: {error.strerror}") from None
        with (self.root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(
                    f"another command changes the engines in {self.root}: wait for its end"
                ) from None
            yield

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """An empty folder for an environment, gone at the end unless it was published."""
        self.sweep()  # before its room is looked at
        folder = Path(tempfile.mkdtemp(prefix=f"{ENGINE}.", dir=self.root)).resolve()
        folder.chmod(0o755)  # whoever runs Triton reads it
        try:
            yield folder
        finally:
            self.sweep()

    def publish(self, folder: Path, facts: Facts) -> None:
        """From now on this environment counts."""
        written = {**asdict(facts), "path": str(folder)}
        (folder / _FACTS).write_text(json.dumps(written, indent=2) + "\n", "utf-8")
        fresh = self.root / f"{ENGINE}.link"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(self.link)

    def remove(self) -> None:
        self.link.unlink(missing_ok=True)
        self.sweep()

    def sweep(self) -> None:
        """Removes every environment but the one that counts: by whom has the lock."""
        current = self.folder()
        for found in self.root.glob(f"{ENGINE}.*"):
            if found.is_symlink():
                found.unlink()
            elif found.resolve() != current:
                shutil.rmtree(found, ignore_errors=True)
