"""Where a running stack listens, for the commands that talk to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class StackRecord:
    """Addresses are host:port, metrics are URLs by process. Several Tritons are joined by ", "."""

    pid: int
    api: str
    triton: str
    redis: str
    metrics: dict[str, str]


def runtime_folder(home: Path) -> Path:
    return home / "run"


def write_record(home: Path, record: StackRecord) -> None:
    path = runtime_folder(home) / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(record), indent=2), "utf-8")
    fresh.replace(path)


def remove_record(home: Path) -> None:
    (runtime_folder(home) / _FILE).unlink(missing_ok=True)


def read_record(home: Path) -> StackRecord | None:
    """Returns the stack that was started in `home` and not stopped, if there is one."""
    try:
        return StackRecord(**json.loads((runtime_folder(home) / _FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
