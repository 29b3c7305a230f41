"""One supervisor a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.supervisor.record import read_record, runtime_folder
from orchestrator.supervisor.unit import StartError


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Holds the folder's lock, which the kernel drops when this process dies.

    Raises:
        StartError: another supervisor holds it.
    """
    path = _path(home)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise StartError(f"can't write to {path.parent}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = read_record(home)
            where = f", its gRPC is at {record.api}" if record else ""
            raise StartError(
                f"a stack already runs in {home}{where}; stop it with: fleet down"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(home: Path) -> int | None:
    """Returns the process id of the supervisor that holds the folder; None when there is none."""
    try:
        with _path(home).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(_path(home).read_text("utf-8") or 0) or None
    except OSError:
        return None
    return None


def is_held(home: Path) -> bool:
    return holder(home) is not None


def _path(home: Path) -> Path:
    return runtime_folder(home) / "lock"
