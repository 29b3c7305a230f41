"""The machine and the versions, as far as they bear on speed; nothing that names the machine."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

_PACKAGES = ("grpcio", "redis", "openvino-genai", "nvidia-pytriton", "uvloop", "pydantic")


def machine() -> dict[str, str]:
    said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*:\s*(.+)", said)
    kib = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return {
        "cpu": f"{model[1] if model else platform.machine()}, {os.cpu_count()} logical cores",
        "memory": f"{int(kib[1]) / 2**20:.0f} GiB" if kib else "unknown",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
