"""The Lua scripts, one file each. `-- needs:` names the shared parts that go before one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")
_NEEDS = "-- needs:"


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: str
    sha: str


@cache
def script(name: str, folder: Path = _FOLDER) -> Script:
    """Returns the script of `<folder>/<name>.lua`, put together."""
    shebang, *lines = (folder / f"{name}.lua").read_text(encoding="utf-8").splitlines()
    needs = [line for line in lines if line.startswith(_NEEDS)]
    parts = [part for line in needs for part in line.removeprefix(_NEEDS).split()]
    shared = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts]
    source = "\n".join([shebang, *shared, *lines, ""])
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def every_script() -> tuple[Script, ...]:
    names = sorted(path.stem for path in _FOLDER.glob("[!_]*.lua"))
    return tuple(script(name) for name in names)
