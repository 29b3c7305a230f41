"""A Redis or Valkey of 7.0 or newer: one on PATH, or one fetched into .fleet."""

import os
import re
import shutil
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
    too_old = ""
    for server in (*SERVERS, *(str(fleet / "bin" / name) for name in SERVERS)):
        version = server_version(server)
        if version and version >= OLDEST:
            return
        if version:
            too_old = f"{shutil.which(server)} is {'.'.join(map(str, version))}, "
    say.step("Redis")
    for server in SERVERS:
        try:
            fetch_debs(_packages(server), fleet / server, fleet / "apt")
        except SetupError as error:
            why = str(error)
            continue
        version = server_version(_wrap(fleet, server))
        if version and version >= OLDEST:
            say.done()
            return
        why = f"apt has {'.'.join(map(str, version or ('none',)))}"
    raise SetupError(
        f"{too_old}Redis or Valkey 7.0 or newer is needed, and fetching one failed ({why}): "
        "install one, or name one that runs in FLEET_REDIS__URL"
    )


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


def _packages(server: str) -> list[str]:
    # Debian puts the program into the tools package and a link to it into the server's.
    return [server, server.replace("-server", "-tools")]


def _wrap(fleet: Path, server: str) -> str:
    wrapper = fleet / "bin" / server
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(WRAPPER.format(folder=server, server=server))
    wrapper.chmod(0o755)
    return str(wrapper)
