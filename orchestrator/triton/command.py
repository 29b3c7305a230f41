"""The command line and the environment of a tritonserver."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from orchestrator.triton.config import Ports, TritonConfig
from orchestrator.triton.find import Installation


def arguments(
    config: TritonConfig,
    found: Installation,
    *,
    models: Iterable[str],
    ports: Ports,
    backends: Path,
    shm_prefix: str,
) -> list[str]:
    metrics = ["--metrics-address", config.host, "--metrics-port", str(ports.metrics)]
    command = [
        str(found.server),
        *[f"--model-repository={path.resolve()}" for path in config.served],
        f"--backend-directory={backends.resolve()}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        # Explicit, so that one model can be loaded, or loaded again, while the others serve.
        "--model-control-mode=explicit",
        *[f"--load-model={name}" for name in sorted(models)],
        # The server stays up to tell, in its index, why a model does not load.
        "--exit-on-error=false",
        f"--exit-timeout-secs={max(1, round(config.drain_timeout_s))}",
        *["--http-address", config.host, "--http-port", str(ports.http)],
        *["--grpc-address", config.host, "--grpc-port", str(ports.grpc)],
        *metrics,
    ]
    if found.caches is not None and config.response_cache_bytes:
        command.append(f"--cache-directory={found.caches}")
        command.append(f"--cache-config=local,size={config.response_cache_bytes}")
    if not config.auto_complete:
        command.append("--disable-auto-complete-config")
    return [*command, *config.arguments]


def environment(config: TritonConfig, found: Installation) -> dict[str, str]:
    """The stub finds its interpreter's packages through PATH and VIRTUAL_ENV only."""
    variables = dict(os.environ)
    for unwanted in ("PYTHONHOME", "PYTHONPATH"):
        variables.pop(unwanted, None)
    variables["PYTHONUNBUFFERED"] = "1"
    if found.from_wheel:
        variables["VIRTUAL_ENV"] = sys.prefix
        variables["PATH"] = _joined([Path(sys.prefix) / "bin"], variables.get("PATH"))
    libraries = [*found.library_path, *config.library_path]
    variables["LD_LIBRARY_PATH"] = _joined(libraries, variables.get("LD_LIBRARY_PATH"))
    variables.update(config.environment)
    return variables


def _joined(first: list[Path], rest: str | None) -> str:
    return os.pathsep.join([*map(str, first), *([rest] if rest else [])])
