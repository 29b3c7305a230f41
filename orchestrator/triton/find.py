"""Which tritonserver to start, and what lies beside it."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from orchestrator.triton.errors import ServerNotFoundError


@dataclass(frozen=True, slots=True)
class Installation:
    """A tritonserver with its backends; `stub` is set for the wheel's only."""

    server: Path
    backends: Path
    caches: Path | None
    stub: Path | None
    library_path: tuple[Path, ...]

    @property
    def from_wheel(self) -> bool:
        return self.stub is not None


def find_server(explicit: Path | None = None) -> Installation:
    """An explicit path, then one on PATH, then the wheel's.

    Raises:
        ServerNotFoundError: the explicit path is no program, or there is none anywhere.
    """
    if explicit is not None:
        if not os.access(explicit, os.X_OK) or explicit.is_dir():
            raise ServerNotFoundError(
                f"{explicit} is not a program: give the path of a tritonserver"
            )
        return _installed(explicit)
    if found := shutil.which("tritonserver"):
        return _installed(Path(found))
    if wheel := _wheel():
        return wheel
    raise ServerNotFoundError(
        "no tritonserver: there is none on PATH and nvidia-pytriton is not installed; "
        "run scripts/setup, or give the path of one"
    )


def _installed(server: Path) -> Installation:
    root = server.resolve().parent.parent
    if (root.parent / "nvidia_pytriton.libs").is_dir() or root.parent.name == "pytriton":
        return _from_wheel(root)
    backends = root / "backends"
    if not (backends / "python").is_dir():
        raise ServerNotFoundError(
            f"{server} has no Python backend: {backends / 'python'} does not exist; "
            "use a build of Triton that has it, such as NVIDIA's container"
        )
    caches = root / "caches"
    return Installation(server, backends, caches if caches.is_dir() else None, None, ())


def _wheel() -> Installation | None:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0]) / "tritonserver"
    return _from_wheel(root) if (root / "bin" / "tritonserver").is_file() else None


def _from_wheel(root: Path) -> Installation:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    # The environment's own lib is where set-up links a libpython that the system lacks.
    libraries = [root.parent.parent / "nvidia_pytriton.libs", Path(sys.prefix) / "lib"]
    if libdir := sysconfig.get_config_var("LIBDIR"):
        libraries.append(Path(libdir))
    return Installation(
        server=root / "bin" / "tritonserver",
        backends=root / "backends",
        caches=root / "caches",
        stub=root / "python_backend_stubs" / minor / "triton_python_backend_stub",
        library_path=tuple(libraries),
    )
