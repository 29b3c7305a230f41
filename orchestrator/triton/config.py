"""What a person decides about the embedded Triton server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonConfig:
    """A port of 0 means a free one; it is then kept over restarts."""

    repositories: tuple[Path, ...]
    runtime_dir: Path
    # Like `repositories`, but a model that does not load there is only told of.
    optional_repositories: tuple[Path, ...] = ()
    # Names that are not to be loaded; asked before each start.
    held_back: Callable[[], frozenset[str]] = frozenset
    backends_dir: Path | None = None
    server: Path | None = None
    host: str = "127.0.0.1"
    grpc_port: int = 0
    http_port: int = 0
    metrics_port: int = 0
    log_file: Path | None = None
    response_cache_bytes: int = 64 * MIB
    # The stub starts once more per model for this; a complete config.pbtxt does without.
    auto_complete: bool = True
    library_path: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    ready_timeout_s: float = 180.0
    drain_timeout_s: float = 5.0

    @property
    def served(self) -> tuple[Path, ...]:
        return (*self.repositories, *self.optional_repositories)

    @property
    def log(self) -> Path:
        return self.log_file or self.runtime_dir / "triton.log"


@dataclass(frozen=True, slots=True)
class Ports:
    grpc: int
    http: int
    metrics: int
