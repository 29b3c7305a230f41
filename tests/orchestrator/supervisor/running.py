"""A stack started the way a person starts it, and the command used on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.supervisor import leftovers
from orchestrator.supervisor.record import read_record, runtime_folder

ROOT = Path(__file__).parents[3]
FLEET = (sys.executable, "-m", "orchestrator.cli")
START_S = 120.0


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLEET_")}
    return {**kept, "FLEET_HOME": str(home), "PYTHONWARNINGS": "default", **more}


def fleet(
    *words: str, home: Path, timeout_s: float = 60.0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*FLEET, *words],
        cwd=ROOT,
        env=environment(home, **env),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    pause = 0.05
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s:g} s"
        time.sleep(pause)


@dataclass
class RunningStack:
    home: Path
    supervisor: subprocess.Popen[str]
    log: Path

    def ask(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return fleet("ask", *words, home=self.home, timeout_s=timeout_s)

    def processes(self) -> Mapping[str, int]:
        """The stack's processes by name; a model's Python process is `stub MODEL`."""
        found = {}
        for pid in leftovers.find(runtime_folder(self.home)):
            name = _name(pid)
            if name:
                found[name] = pid
        return found

    def stop(self) -> int:
        """Ends it as Ctrl-C does; returns its exit code."""
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGINT)
        try:
            return self.supervisor.wait(20)
        finally:
            leftovers.end(runtime_folder(self.home), grace_s=1.0)


def start_stack(home: Path, **env: str) -> RunningStack:
    """Returns when a question can be asked."""
    log = home / "up.log"
    with log.open("w") as output:
        supervisor = subprocess.Popen(
            [*FLEET, "up", "--free-ports"],
            cwd=ROOT,
            env=environment(home, **env),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    running = RunningStack(home, supervisor, log)

    def settled() -> bool:
        return read_record(home) is not None or supervisor.poll() is not None

    until(settled, within_s=START_S, what="the start of the stack")
    assert supervisor.poll() is None, log.read_text()
    return running


def _name(pid: int) -> str:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return ""
    program = Path(argv[0]).name
    if "serve" in argv:
        return argv[argv.index("serve") + 1]
    if program == "triton_python_backend_stub":
        return f"stub {Path(argv[1]).parent.parent.name}"
    if "backends.openvino_genai.engine_process" in argv:
        folder = next(word for word in argv if word.endswith("/1"))
        return f"engine {Path(folder).parent.name}"
    return program
