"""A Redis or Valkey of 7.0 or newer: one on PATH, or one fetched into .fleet."""

import os
import re
import subprocess
from pathlib import Path

from scripts.installation.debs import fetch_debs
from scripts.installation.run import SetupError
from scripts.installation.say import Say

OLDEST = (7, 0)
SERVERS = ("redis-server", "valkey-server")
WRAPPER = """\
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")/{folder}
for libraries in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu; do
  LD_LIBRARY_PATH="$libraries${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
done
export LD_LIBRARY_PATH
exec "$root/usr/bin/{server}" "$@"
"""


def provide_redis(fleet: Path, say: Say) -> None:
    """
    Raises:
        SetupError: there is none, and none can be fetched.
    """
    if os.environ.get("FLEET_REDIS__URL"):
        return
    here = [*SERVERS, *(str(fleet / "bin" / name) for name in SERVERS)]
    versions = {server: server_version(server) for server in here}
    if any(version and version >= OLDEST for version in versions.values()):
        return
    old = [f"{server} is {_dotted(found)}" for server, found in versions.items() if found]
    say.step("Redis")
    faults: list[str] = []
    for server in SERVERS:
        if fault := _fetch(server, fleet):
            faults.append(fault)
            continue
        say.done()
        return
    here_is = f"{' and '.join(old)}, and " if old else ""
    raise SetupError(
        f"{here_is}Redis or Valkey 7.0 or newer is needed ({'; '.join(faults)}): "
        "install one, or name one that runs in FLEET_REDIS__URL"
    )


def _fetch(server: str, fleet: Path) -> str:
    """Returns what went wrong, or nothing."""
    # Debian puts the program into the tools package and a link to it into the server's.
    packages = [server, server.replace("-server", "-tools")]
    try:
        fetch_debs(packages, fleet / server, fleet / "apt")
    except SetupError as error:
        return str(error)
    version = server_version(_wrap(fleet, server))
    if version is None:
        return f"the {server} that apt has does not run here"
    return "" if version >= OLDEST else f"apt has {server} {_dotted(version)}"


def server_version(server: str) -> tuple[int, ...] | None:
    """None where it does not run or says no version."""
    try:
        said = subprocess.run(
            [server, "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return tuple(map(int, found[1].split("."))) if found else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _wrap(fleet: Path, server: str) -> str:
    wrapper = fleet / "bin" / server
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(WRAPPER.format(folder=server, server=server))
    wrapper.chmod(0o755)
    return str(wrapper)
