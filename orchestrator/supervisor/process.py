"""A unit that is one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.supervisor.unit import Say, StartError, Unit

Probe = Callable[[], Awaitable[bool]]

_ROTATE_AT_BYTES = 16 << 20
_PROBE_EVERY_S = 0.1
_CALM_S = 30.0
_BACKOFF_CAP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """`ready` says whether it serves; a process that ends with code 78 can never start."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready: Probe
    start_timeout_s: float = 30.0
    grace_s: float = 4.0


CONFIGURATION_ERROR = 78
"""Exit code of a process whose settings are wrong (EX_CONFIG of sysexits.h)."""


@dataclass(slots=True)
class ProcessUnit(Unit):
    spec: Spec
    say: Say
    name: str = field(init=False)
    _process: asyncio.subprocess.Process | None = None
    _watching: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.name = self.spec.name

    async def start(self) -> None:
        await self._launch()
        try:
            await self._until_ready()
        except StartError:
            await self._end()
            raise
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        await self._end()

    async def _launch(self) -> None:
        log = self.spec.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _ROTATE_AT_BYTES:
            log.replace(log.with_name(log.name + ".1"))
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.spec.env),
                # Ctrl-C in the terminal is for the supervisor, which then stops in order.
                start_new_session=True,
            )

    async def _until_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + self.spec.start_timeout_s
        while not await self.spec.ready():
            if process.returncode is not None:
                raise StartError(f"{self.name} ended at its start: {self._last_words()}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.name} did not serve within {self.spec.start_timeout_s:.0f} s: "
                    f"{self._last_words()}"
                )
            await _exited(process, _PROBE_EVERY_S)

    async def _watch(self) -> None:
        wait_s = 0.0
        while True:
            process = self._process
            assert process is not None
            began = time.monotonic()
            code = await process.wait()
            calm = time.monotonic() - began > _CALM_S
            wait_s = 0.0 if calm else min(_BACKOFF_CAP_S, max(0.25, wait_s * 2) if wait_s else 0.25)
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self.say(f"{self.name} ended ({how}); starting it again")
            await asyncio.sleep(wait_s)
            await self._launch()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        if not await _exited(process, self.spec.grace_s):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _last_words(self) -> str:
        lines = self.spec.log.read_text("utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (log: {self.spec.log})"


async def _exited(process: asyncio.subprocess.Process, within_s: float) -> bool:
    # Not wait_for: in Python 3.11 it may swallow a cancellation that meets the exit.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await process.wait()
    return process.returncode is not None
