"""Waits until a server answers with every model, or says which one does not load and why."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.triton.control import READY, Control
from orchestrator.triton.errors import (
    ControlError,
    ModelNotLoadedError,
    ServerExitedError,
    StartTimeoutError,
)
from orchestrator.triton.process import ServerProcess
from orchestrator.triton.serverlog import ServerLog, one_sentence

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    ready: frozenset[str]
    loading: frozenset[str]
    total: int

    def __str__(self) -> str:
        waiting = f", loading {', '.join(sorted(self.loading))}" if self.loading else ""
        return f"{len(self.ready)} of {self.total} models ready{waiting}"


def model_names(repositories: Iterable[Path]) -> frozenset[str]:
    return frozenset(
        folder.name
        for repository in repositories
        for folder in repository.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", "__"))
    )


async def wait_until_ready(
    process: ServerProcess,
    control: Control,
    log: ServerLog,
    *,
    expected: frozenset[str],
    optional: frozenset[str],
    timeout_s: float,
    on_progress: Callable[[Progress], None],
    fail_early: bool,
) -> dict[str, str]:
    """Returns the models that did not load, with the reason of each.

    Args:
        expected: the models that are to load.
        optional: those of them that do not fail early.
        fail_early: raise for a model that does not load while others still do.

    Raises:
        ModelNotLoadedError: only with `fail_early`.
        ServerExitedError: the process ended.
        StartTimeoutError: not every model was loaded, or had failed, in time.
    """
    deadline = time.monotonic() + timeout_s
    seen: Progress | None = None
    while True:
        exited = process.returncode is not None
        log.read()
        progress = _progress(log, expected)
        if progress != seen:
            seen = progress
            on_progress(progress)
        failed = {name: why for name, why in log.failed.items() if name not in optional}
        if fail_early and failed:
            raise ModelNotLoadedError(_causes(failed))
        if exited:
            crashed = (process.returncode or 0) < 0
            raise ServerExitedError(_why_exited(process, log), crashed=crashed)
        # The endpoints open when every model has been tried.
        if await control.is_live(timeout_s=2.0):
            return await _not_loaded(control, log, expected)
        if time.monotonic() > deadline:
            raise StartTimeoutError(f"Triton was not ready after {timeout_s:g} s: {progress}")
        await asyncio.sleep(POLL_S)


async def _not_loaded(control: Control, log: ServerLog, expected: frozenset[str]) -> dict[str, str]:
    log.read()
    try:
        states = await control.index()
    except ControlError as error:
        raise ServerExitedError(f"Triton opened its ports and did not answer: {error}") from error
    reasons = {
        s.name: one_sentence(s.reason) or log.failed.get(s.name, f"no reason given, see {log.path}")
        for s in states
        if s.state != READY and s.name in expected
    }
    return _causes(reasons)


def _causes(reasons: dict[str, str]) -> dict[str, str]:
    """Without the ensembles that fail only because one of their models does."""
    first = {n: r for n, r in reasons.items() if not r.startswith("depends on")}
    return first or reasons


def _progress(log: ServerLog, expected: frozenset[str]) -> Progress:
    ready = frozenset(log.loaded) & expected
    return Progress(ready, frozenset(log.loading) & expected - ready, len(expected))


def _why_exited(process: ServerProcess, log: ServerLog) -> str:
    said = f": {log.trouble[-1]}" if log.trouble else ""
    code = process.returncode
    how = f"was killed by signal {-code}" if code and code < 0 else f"exited with code {code}"
    return f"tritonserver {how} before it was ready{said} (log: {log.path})"
