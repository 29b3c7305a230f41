"""Redis as a unit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.redis_server import RedisServerError, answers, find_program
from orchestrator.settings import Redis
from orchestrator.supervisor.process import ProcessUnit, Spec
from orchestrator.supervisor.unit import Say, StartError


def redis_unit(
    settings: Redis, *, home: Path, log: Path, env: Mapping[str, str], say: Say
) -> ProcessUnit:
    """A server of our own that keeps its append-only file in `home`.

    Raises:
        StartError: there is no Redis or Valkey of 7.0 or newer.
    """
    folder = home / "redis-data"
    try:
        program = find_program(settings.server, extracted=home / "redis")
    except RedisServerError as error:
        raise StartError(str(error)) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"can't write to {folder}: {error.strerror}") from None
    libraries = {
        name: value for name, value in program.environment().items() if name == "LD_LIBRARY_PATH"
    }

    async def ready() -> bool:
        return await answers(settings.port)

    spec = Spec(
        name="redis",
        argv=program.command(port=settings.port, folder=folder),
        env={**env, **libraries},
        log=log,
        ready=ready,
    )
    return ProcessUnit(spec, say)
