"""Installs a lock into an environment, and says in one sentence why that failed."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.engines.errors import EngineError

Hear = Callable[[str], None]

_LAST_LINES = 200
_VARIABLES = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_USER": "0",
    "PIP_ROOT_USER_ACTION": "ignore",
}
_NOT_FOR_OTHERS = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
_NETWORK = re.compile(
    r"name resolution|NewConnectionError|Network is unreachable|connection broken|"
    r"Connection (refused|timed out|reset)|ConnectTimeout|Read timed out|Max retries|"
    r"ProxyError|No route to host|SSLError|CERTIFICATE_VERIFY",
    re.IGNORECASE,
)
_MISSING = re.compile(r"No matching distribution found for (\S+)")


def install_lock(python: Path, lock: Path, *, hear: Hear) -> None:
    """Installs just what the lock names; `hear` is told pip's lines.

    Raises:
        EngineError: there is no pip, no index, no such package, or no room.
    """
    run(
        [*_pip(python), "install", "--no-deps", "--progress-bar=off", "-r", lock],
        doing="installing the packages",
        hear=hear,
    )


def _pip(python: Path) -> list[str | Path]:
    """Our own pip, told to work on that environment: pip in each would be one more thing to get."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", python]
    try:
        run([python, "-m", "ensurepip"], doing="ensurepip")
    except EngineError as error:
        raise EngineError(
            f"there is no pip: neither in {sys.prefix} nor with Python ({error}); "
            "run scripts/setup, or apt install python3-venv"
        ) from None
    return [python, "-m", "pip"]


def run(
    command: Sequence[str | Path],
    *,
    doing: str,
    hear: Hear = lambda _: None,
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """Returns the last lines of what it said.

    Raises:
        EngineError: it failed; the sentence begins with what it was `doing`.
    """
    lines: list[str] = []
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment({**_VARIABLES, **(variables or {})}),
        # A group of its own, so that an interrupt ends also what the program has started.
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                lines = [*lines[-_LAST_LINES:], line.rstrip()]
                hear(line.rstrip())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise EngineError(f"{doing} failed: {_why(lines, process.returncode)}")
    return lines


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would have another interpreter read our packages."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_OTHERS}
    return {**kept, **more}


def _why(lines: Sequence[str], code: int) -> str:
    text = "\n".join(lines)
    if "No space left on device" in text:
        return "the disk is full"
    missing = _MISSING.search(text)
    if _NETWORK.search(text):
        what = f" for {missing[1]}" if missing else ""
        return (
            f"no package index could be reached{what}; is there a network? Without one, name a "
            "folder of wheels in PIP_FIND_LINKS and set PIP_NO_INDEX=1"
        )
    if missing:
        return _not_found(missing[1])
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    errors = [line for line in lines if line.lstrip().lower().startswith("error:")]
    said = errors[0] if errors else next(reversed(lines), "it said nothing")
    return said.strip()


def _not_found(requirement: str) -> str:
    python = f"Python {platform.python_version()} on {platform.machine()}"
    if requirement.endswith("+cpu"):
        return (
            f"the package index has no {requirement} for {python}: PyTorch publishes its builds "
            "for the CPU in an index of its own. Name it in PIP_EXTRA_INDEX_URL, or a folder with "
            "the wheel in PIP_FIND_LINKS"
        )
    return f"the package index has no {requirement} for {python}"
