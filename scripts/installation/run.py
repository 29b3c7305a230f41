"""Runs the programs of set-up and says in one sentence why one failed."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LAST_LINES = 200
NETWORK = re.compile(
    r"name resolution|Could not resolve|NewConnectionError|Network is unreachable|"
    r"Connection (refused|timed out|reset)|ConnectTimeout|Read timed out|Max retries|"
    r"ProxyError|Failed to fetch|nodename nor servname|No route to host|SSLError",
    re.IGNORECASE,
)


class SetupError(Exception):
    """Its message is one sentence for the person at the terminal."""


def run(
    command: Sequence[str | Path],
    *,
    doing: str,
    on_line: Callable[[str], None] = lambda _: None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> list[str]:
    """Returns the last lines of its output.

    Raises:
        SetupError: it failed; the sentence begins with what it was `doing`.
    """
    lines: list[str] = []
    with subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd,
        # A group of its own, so that an interrupt ends also what the program has started.
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                lines = [*lines[-LAST_LINES:], line.rstrip()]
                on_line(line.rstrip())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise SetupError(f"{doing} failed: {explain(lines)}")
    return lines


def explain(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    if "No space left on device" in text:
        return "the disk is full"
    if NETWORK.search(text):
        return "the package index cannot be reached; is there a network?"
    said = [line for line in lines if re.match(r"\s*(ERROR|E|error):", line)] or list(lines)
    return said[0].strip() if said else "it said nothing"
