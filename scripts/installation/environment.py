"""The virtual environment and the packages in it."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.installation.debs import fetch_debs
from scripts.installation.run import SetupError, run
from scripts.installation.say import Say

PYTHONS = ((3, 11), (3, 12))
PIP_ENV = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_USER": "0",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONPATH": "",
}


Hear = Callable[[str], None]


def _ignore(_: str) -> None:
    pass


class Environment:
    def __init__(self, root: Path, say: Say) -> None:
        self._root = root
        self._say = say
        self._folder = root / ".venv"
        self._stamp = self._folder / "fleet-setup.json"
        self.python = self._folder / "bin" / "python"

    def check(self) -> None:
        """
        Raises:
            SetupError: there is an environment, and it is one that cannot serve.
        """
        if not self.python.exists():
            return
        if sys.version_info[:2] not in PYTHONS and Path(sys.prefix) == self._folder:
            raise SetupError(
                f".venv has Python {sys.version.split()[0]}, and 3.11 or 3.12 is needed: remove "
                ".venv and run this again"
            )
        for numpy in self._folder.glob("lib/python3.*/site-packages/numpy-*.dist-info"):
            version = numpy.name.removeprefix("numpy-").removesuffix(".dist-info")
            if int(version.split(".")[0]) >= 2:
                raise SetupError(
                    f"numpy {version} is in .venv, and Triton's Python models need one below 2: "
                    "run .venv/bin/python -m pip install numpy==1.26.4, or remove .venv"
                )

    def is_complete(self) -> bool:
        return self._stamped() == self._wanted()

    def complete(self) -> None:
        """Installs what the lock names, and this project itself."""
        if not self._works():
            self._make()
        if not self._has_pip():
            self._add_pip()
        stamped, wanted = self._stamped(), self._wanted()
        if stamped.get("lock") != wanted["lock"]:
            self._install_lock()
        self._say.step("the fleet command")
        self._pip("install", "--no-deps", "--quiet", "-e", ".", doing="installing fleet")
        self._say.done()
        self._stamp.write_text(json.dumps(wanted))

    def _stamped(self) -> dict[str, str]:
        try:
            stamped = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamped if isinstance(stamped, dict) and self.python.exists() else {}

    def _wanted(self) -> dict[str, str]:
        files = {"lock": "requirements.lock", "project": "pyproject.toml"}
        sums = {
            name: hashlib.sha256((self._root / file).read_bytes()).hexdigest()
            for name, file in files.items()
        }
        return {**sums, "root": str(self._root)}

    def _works(self) -> bool:
        try:
            return subprocess.run([self.python, "-c", ""], check=False).returncode == 0
        except OSError:
            return False

    def _make(self) -> None:
        self._say.step(f"a virtual environment of Python {sys.version.split()[0]}")
        if self._folder.is_symlink():
            raise SetupError(f".venv is a link to {self._folder.readlink()}, which has no Python")
        # ensurepip is a package of its own on Debian; pip is added below.
        run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", self._folder],
            doing="making .venv",
        )
        self._say.done()

    def _has_pip(self) -> bool:
        return any(self._folder.glob("lib/python3.*/site-packages/pip-*.dist-info"))

    def _add_pip(self) -> None:
        self._say.step("pip")
        try:
            run([self.python, "-m", "ensurepip", "--default-pip"], doing="ensurepip")
        except SetupError:
            wheel = self._find_pip_wheel()
            run(
                [self.python, wheel / "pip", "install", "--no-index", wheel],
                doing="installing pip",
                env=PIP_ENV,
            )
        self._say.done()

    def _find_pip_wheel(self) -> Path:
        system, fetched = Path("/usr/share"), self._root / ".fleet" / "pip"
        pattern = "python-wheels/pip-*.whl"
        for _ in range(2):
            for folder in (system, fetched / "usr" / "share"):
                if wheels := sorted(folder.glob(pattern)):
                    return wheels[-1]
            fetch_debs(["python3-pip-whl"], fetched, self._root / ".fleet" / "apt")
        raise SetupError("there is no pip: apt install python3-venv, then run this again")

    def _install_lock(self) -> None:
        lock = self._root / "requirements.lock"
        total = len(re.findall(r"^\w", lock.read_text(), re.MULTILINE))
        self._say.step(f"{total} packages")
        seen = 0

        def on_line(line: str) -> None:
            nonlocal seen
            if found := re.match(r"(?:Collecting|Requirement already satisfied:) (\S+?)==", line):
                seen += 1
                self._say.detail(f"{seen} of {total}, {found[1]}")
            elif line.startswith("Ignoring "):
                seen += 1
            elif line.startswith("Installing collected"):
                self._say.detail("writing them")

        self._pip(
            "install",
            "--no-deps",
            "--progress-bar=off",
            "-r",
            "requirements.lock",
            doing="installing the packages",
            on_line=on_line,
        )
        self._say.done()

    def _pip(self, *arguments: str, doing: str, on_line: Hear = _ignore) -> None:
        command: list[str | Path] = [self.python, "-m", "pip", *arguments]
        run(command, doing=doing, env=PIP_ENV, cwd=self._root, on_line=on_line)
