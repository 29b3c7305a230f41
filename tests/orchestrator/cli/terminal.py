"""The command as a process: with a terminal, or with pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.work import Claim, WorkKind
from orchestrator.ports.state import State


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


async def fleet_command(address: str, *arguments: str, stdin: bytes = b"") -> Ended:
    process = await _start(address, arguments, stdin=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        out, err = await process.communicate(stdin)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def _start(address: str, arguments: tuple[str, ...], **files: Any) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestrator.cli", *arguments),
        env={**os.environ, "FLEET_ADDRESS": address},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **files,
    )


@dataclass
class AtTerminal:
    """A running command whose standard input is a terminal of ours."""

    process: Any
    keyboard: int
    err: str = ""
    _screen: int = field(default=-1)

    @classmethod
    async def start(cls, address: str, *arguments: str) -> AtTerminal:
        keyboard, screen = os.openpty()
        process = await _start(address, arguments, stdin=screen)
        os.close(screen)
        return cls(process, keyboard)

    async def shows(self, text: str) -> None:
        """Waits until standard error has the text."""
        async with asyncio.timeout(30):
            while text not in self.err:
                read = await self.process.stderr.read(4096)
                assert read, f"it ended without {text!r}: {self.err}"
                self.err += read.decode()

    def types(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def interrupts(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def ends(self) -> Ended:
        async with asyncio.timeout(30):
            out, err = await self.process.communicate()
        os.close(self.keyboard)
        return Ended(self.process.returncode, out.decode(), self.err + err.decode())


async def claim(state: State, kind: WorkKind = WorkKind.REASON) -> Claim:
    """The next item, once there is one."""
    async with asyncio.timeout(30):
        while True:
            claims = await state.runs.claim(kind, worker="w", limit=1, lease_ms=60_000)
            if claims:
                return claims[0]
            await state.runs.wait_for_work(kind, timeout_s=1.0)
