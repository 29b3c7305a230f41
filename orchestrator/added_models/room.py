"""Whether a model fits: disk for its files, memory for its weights and its KV cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestrator.added_models.errors import ModelError

MIB, GIB = 1 << 20, 1 << 30

# The plug-in keeps some weights a second time in the form that its kernels read.
_WEIGHTS_FACTOR = 1.25
_PROCESS_BYTES = 300 * MIB
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Need:
    weights_bytes: int
    kv_cache_bytes: int

    @property
    def memory_bytes(self) -> int:
        return int(self.weights_bytes * _WEIGHTS_FACTOR) + self.kv_cache_bytes + _PROCESS_BYTES


def kv_cache_gib(context_tokens: int, bytes_per_token: int | None) -> int:
    """The least whole GiB in which one conversation of full length fits."""
    return max(1, -(-context_tokens * (bytes_per_token or 0) // GIB))


def check_disk(folder: Path, needed: int) -> None:
    """Raises ModelError: the files do not fit."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"the model's files have {said(needed)} and {folder} has {said(free)} free"
        )


def check_memory(need: Need, available: int) -> None:
    """Raises ModelError: it would not fit beside what runs now."""
    if need.memory_bytes > available:
        raise ModelError(
            f"the model does not fit: it needs about {said(need.memory_bytes)} of memory "
            f"({said(need.weights_bytes)} of weights, {said(need.kv_cache_bytes)} of KV cache), "
            f"and {said(available)} are free; give it less --context, unload another model "
            "(fleet models unload), or take one with smaller weights. --force tries it anyway"
        )


def available_memory() -> int:
    """Bytes that can be taken without swapping, here and within the limit of the container."""
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text("ascii").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    return free if limit is None or used is None else min(free, max(0, limit - used))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # not cgroup v2, or "max"
        return None


def said(count: int) -> str:
    if count >= GIB:
        return f"{count / GIB:.1f} GiB"
    return f"{count / MIB:.0f} MiB" if count >= MIB else f"{count / 1024:.0f} KiB"
