"""The runtime folder of one server: who holds it and what an earlier server left in it."""

import fcntl
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.triton.errors import RuntimeInUseError
from orchestrator.triton.leftovers import kill_processes, remove_shared_memory

PREFIX = "fleet_triton_"
RECORD = "server.json"


@dataclass(slots=True)
class Runtime:
    """Held by at most one launcher; `open_runtime` makes it."""

    folder: Path
    shm_prefix: str
    lock: IO[str]

    @property
    def backends(self) -> Path:
        return self.folder / "backends"

    @property
    def record(self) -> Path:
        return self.folder / RECORD

    def write_record(self, **facts: object) -> None:
        """Written before the server starts, so that even a launcher killed then leaves a trace."""
        temporary = self.record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"shm_prefix": self.shm_prefix, **facts}))
        temporary.replace(self.record)

    def sweep(self, *, grace_s: float = 0) -> list[int]:
        """Ends what is left of the server and removes its shared memory."""
        ended = kill_processes(self.shm_prefix, grace_s=grace_s)
        remove_shared_memory(self.shm_prefix)
        return ended

    def close(self) -> None:
        """Leaves nothing behind, whatever was being started when it was stopped."""
        self.sweep()
        shutil.rmtree(self.backends, ignore_errors=True)
        self.record.unlink(missing_ok=True)
        self.lock.close()


def open_runtime(folder: Path, *, grace_s: float) -> tuple[Runtime, list[int]]:
    """Take the folder, and end a server that a launcher killed earlier left running.

    Raises:
        RuntimeInUseError: another live launcher holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _take(folder / "lock")
    runtime = Runtime(folder, PREFIX + secrets.token_hex(6), lock)
    ended: list[int] = []
    if earlier := recorded_prefix(runtime.record):
        ended = Runtime(folder, earlier, lock).sweep(grace_s=grace_s)
    runtime.write_record()
    return runtime, ended


def _take(path: Path) -> IO[str]:
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise RuntimeInUseError(
            f"process {holder} already runs a Triton server in {path.parent}: "
            "stop it first, or use another runtime folder"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def recorded_prefix(record: Path) -> str | None:
    try:
        prefix = json.loads(record.read_text())["shm_prefix"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return prefix if isinstance(prefix, str) and prefix.startswith(PREFIX) else None
