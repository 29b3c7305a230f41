"""libpython, which Triton's Python stub is linked to and an interpreter can do without."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from scripts.installation.debs import fetch_debs
from scripts.installation.run import SetupError
from scripts.installation.say import Say

SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64")


def provide_libpython(venv: Path, fleet: Path, say: Say) -> None:
    """Link it into `venv`/lib if it is nowhere that the stub looks.

    Raises:
        SetupError: it is missing and cannot be fetched.
    """
    minor = sysconfig.get_python_version()
    name = f"libpython{minor}.so.1.0"
    if any(path.is_file() for path in _places(name, venv)):
        return
    say.step(name)
    try:
        fetch_debs([f"libpython{minor}"], fleet / "libpython", fleet / "apt")
    except SetupError as error:
        raise SetupError(
            f"{name} is missing, which Triton's Python stub is linked to, and fetching it failed "
            f"({error}): apt install libpython{minor}, or use a Python built with --enable-shared"
        ) from error
    [library, *_] = sorted((fleet / "libpython").glob(f"usr/lib/*/{name}"))
    (venv / "lib" / name).unlink(missing_ok=True)
    (venv / "lib" / name).symlink_to(library)
    say.done()


def _places(name: str, venv: Path) -> Iterator[Path]:
    yield venv / "lib" / name
    yield Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in SYSTEM:
        yield Path(folder) / name
        yield Path(folder) / multiarch / name
