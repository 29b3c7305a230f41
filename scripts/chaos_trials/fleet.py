"""The processes of a trial: started, killed, stopped, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from scripts.chaos_trials.orders import Orders, Role
from scripts.chaos_trials.outside import Child, Outside

_READY_S = 30.0
_PACKAGE = __name__.rpartition(".")[0]


@dataclass(slots=True)
class Fleet:
    """Starts by fork what has no gRPC in it, for speed; `fresh` asks for a process of its own."""

    outside: Outside
    base: Orders
    kills: int = 0
    _zygote: asyncio.subprocess.Process | None = None
    _others: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _forking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self, orders: Orders, *, fresh: bool = False) -> Child:
        """Starts a process and waits until it is ready."""
        if fresh or orders.role is Role.API:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{_PACKAGE}.process", orders.to_json()
            )
            self._others[process.pid] = process
            pid = process.pid
        else:
            pid = await self._fork(orders)
        child = self.outside.expect(pid, orders.role)
        await self.outside.until(child, child.ready, limit_s=_READY_S)
        return child

    async def _fork(self, orders: Orders) -> int:
        async with self._forking:
            if self._zygote is None:
                self._zygote = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    f"{_PACKAGE}.zygote",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
            assert self._zygote.stdin is not None
            assert self._zygote.stdout is not None
            self._zygote.stdin.write(orders.to_json().encode() + b"\n")
            return int(await self._zygote.stdout.readline())

    def keep(self, role: Role, plans: Iterator[Orders], **how: float) -> None:
        """Keeps one process of a role alive; each follows the next plan, then the base orders."""

        async def forever() -> None:
            while True:
                orders = replace(next(plans, self.base), role=role, **how)  # type: ignore[arg-type]
                child = await self.start(orders)
                await child.ended.wait()

        self._keepers.append(asyncio.create_task(forever(), name=f"keeper of a {role.value}"))

    def check(self) -> None:
        """Raises what a keeper died of."""
        for keeper in self._keepers:
            if keeper.done():
                keeper.result()

    def living(self, *roles: Role) -> list[Child]:
        return [
            child
            for child in self.outside.children.values()
            if child.role in roles and child.ready.is_set() and not child.ended.is_set()
        ]

    def kill(self, child: Child) -> None:
        self.kills += 1
        _signal(child.pid, signal.SIGKILL)

    def kill_any(self, rng: random.Random, *roles: Role) -> None:
        """Kills one of those that live, if any does."""
        if living := self.living(*roles):
            self.kill(rng.choice(living))

    def resume(self, child: Child) -> None:
        _signal(child.pid, signal.SIGCONT)

    async def end(self) -> None:
        """Ends everything that was started."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for child in self.outside.children.values():
            if not child.ended.is_set():
                _signal(child.pid, signal.SIGKILL)
        for process in (*self._others.values(), *([self._zygote] if self._zygote else [])):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def plans_of(base: Orders, variants: Iterable[dict[str, object]]) -> Iterator[Orders]:
    for variant in variants:
        yield replace(base, **variant)  # type: ignore[arg-type]


@asynccontextmanager
async def running(outside: Outside, base: Orders) -> AsyncIterator[Fleet]:
    fleet = Fleet(outside, base)
    try:
        yield fleet
    finally:
        await fleet.end()
