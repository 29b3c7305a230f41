"""One tritonserver process."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROTATE_AT_BYTES = 16 << 20


@dataclass(slots=True)
class ServerProcess:
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    async def wait(self) -> int:
        return await self.process.wait()

    async def exited_within(self, timeout_s: float) -> bool:
        # Not wait_for: in Python 3.11 it may swallow a cancellation that meets the exit.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        return self.returncode is not None

    async def terminate(self, grace_s: float) -> None:
        """SIGTERM, which drains, then after `grace_s` SIGKILL."""
        self._send(signal.SIGTERM)
        if not await self.exited_within(grace_s):
            await self.kill()

    async def kill(self) -> None:
        self._send(signal.SIGKILL)
        await self.process.wait()

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


async def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[ServerProcess, int]:
    """Returns the process and the log's size before it."""
    _rotate(log)
    with log.open("ab") as output:
        start = os.fstat(output.fileno()).st_size
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            # A session of its own: Ctrl-C in the terminal is for the launcher, which then drains.
            start_new_session=True,
        )
    return ServerProcess(process), start


def _rotate(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > ROTATE_AT_BYTES:
        log.replace(log.with_name(log.name + ".1"))
