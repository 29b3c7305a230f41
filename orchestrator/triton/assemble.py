"""The backend directory: the server's own backends and the repository's, side by side."""

import shutil
from pathlib import Path

from orchestrator.triton.find import Installation


def assemble_backends(found: Installation, ours: Path | None, target: Path) -> None:
    """Make `target` anew. A backend the server already has keeps its name."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if found.stub is not None:
        _copy_python_backend(found.backends / "python", found.stub, target / "python")
    else:
        _link_folders(found.backends, target)
    if ours is not None:
        _link_folders(ours, target)


def _copy_python_backend(backend: Path, stub: Path, target: Path) -> None:
    shutil.copytree(backend, target)
    placed = target / stub.name
    shutil.copyfile(stub, placed)
    placed.chmod(0o755)


def _link_folders(source: Path, target: Path) -> None:
    for folder in sorted(source.iterdir()):
        link = target / folder.name
        if folder.is_dir() and not folder.name.startswith((".", "_")) and not link.exists():
            link.symlink_to(folder.resolve())
